# A room is a folder of the top level: one library `sluice_ROOM` of its sources and one test binary `ROOM_test`
# of tests/ROOM.
#
# GPU or not is a choice of file. NAME_cuda.cc and *.cu are in the CUDA build only, NAME_no_cuda.cc in the other
# one only; tests/ROOM/NAME_cuda_test.cc likewise, and its suites are named Cuda... so that `ctest -L gpu`
# finds them.
function(sluice_sources out folder)
  file(GLOB_RECURSE found CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.cc ${CMAKE_SOURCE_DIR}/${folder}/*.cu)
  set(chosen)
  foreach(source IN LISTS found)
    if(source MATCHES "_no_cuda\\.cc$")
      if(NOT SLUICE_CUDA)
        list(APPEND chosen ${source})
      endif()
    elseif(source MATCHES "(_cuda\\.cc|_cuda_test\\.cc|\\.cu)$")
      if(SLUICE_CUDA)
        list(APPEND chosen ${source})
      endif()
    else()
      list(APPEND chosen ${source})
    endif()
  endforeach()
  set(${out} ${chosen} PARENT_SCOPE)
endfunction()

# Adds the tests of a binary as one entry for each suite, for suites that start processes and wait for them: they
# run side by side.
function(sluice_add_suites target)
  set(suites)
  foreach(source IN LISTS ARGN)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
    file(STRINGS ${source} lines REGEX "^TEST(_F|_P)?[(]")
    foreach(line IN LISTS lines)
      string(REGEX MATCH "[(]([A-Za-z0-9_]+)," found "${line}")
      list(APPEND suites ${CMAKE_MATCH_1})
    endforeach()
  endforeach()
  list(REMOVE_DUPLICATES suites)
  foreach(suite IN LISTS suites)
    add_test(NAME ${target}.${suite} COMMAND ${target} --gtest_filter=${suite}.*)
    set_tests_properties(${target}.${suite} PROPERTIES TIMEOUT 600)
  endforeach()
endfunction()

function(sluice_tests room)
  sluice_sources(sources tests/${room})
  if(NOT sources)
    return()
  endif()
  add_executable(${room}_test ${sources})
  target_include_directories(${room}_test PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_definitions(${room}_test PRIVATE SLUICE_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                                  SLUICE_BINARY="$<TARGET_FILE_DIR:${room}_test>/sluice")
  list(GET ARGN 0 library)
  sluice_use_precompiled_tests(${room}_test ${library} ${sources})
  target_link_libraries(${room}_test PRIVATE ${ARGN} sluice_warnings GTest::gtest GTest::gmock GTest::gtest_main)

  if(TARGET sluice)  # the program's own tests
    sluice_add_suites(${room}_test ${sources})
    return()
  endif()
  add_test(NAME ${room} COMMAND ${room}_test --gtest_filter=-Cuda*)
  set_tests_properties(${room} PROPERTIES TIMEOUT 600)
  if(sources MATCHES "_cuda_test\\.cc")
    add_test(NAME ${room}_gpu COMMAND ${room}_test --gtest_filter=Cuda*)
    # Beside them, so that a build with CUDA is tried where there is no GPU too.
    set_tests_properties(${room} PROPERTIES LABELS gpu_twin)
    # The words a Cuda suite skips with where there is no GPU; one GPU is shared by all of them.
    set_tests_properties(${room}_gpu PROPERTIES LABELS gpu TIMEOUT 600 RESOURCE_LOCK gpu
                                                SKIP_REGULAR_EXPRESSION "needs a CUDA device")
  endif()
endfunction()

function(sluice_room room)
  cmake_parse_arguments(ROOM "" "" "NEEDS;LIBS" ${ARGN})
  sluice_sources(sources ${room})
  list(TRANSFORM ROOM_NEEDS PREPEND sluice_)
  add_library(sluice_${room} STATIC ${sources})
  target_include_directories(sluice_${room} PUBLIC ${CMAKE_SOURCE_DIR})
  sluice_use_precompiled(sluice_${room} ${sources})
  target_link_libraries(sluice_${room} PRIVATE sluice_warnings PUBLIC ${ROOM_NEEDS} ${ROOM_LIBS})
  sluice_tests(${room} sluice_${room})
endfunction()

# The one binary, and the tests that start it.
function(sluice_program name)
  cmake_parse_arguments(PROGRAM "" "ROOM" "NEEDS;LIBS" ${ARGN})
  sluice_sources(sources ${PROGRAM_ROOM})
  list(TRANSFORM PROGRAM_NEEDS PREPEND sluice_)
  add_executable(${name} ${sources})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_definitions(${name} PRIVATE SLUICE_VERSION="${PROJECT_VERSION}")
  sluice_use_precompiled(${name} ${sources})
  target_link_libraries(${name} PRIVATE sluice_warnings ${PROGRAM_NEEDS} ${PROGRAM_LIBS})
  sluice_tests(${PROGRAM_ROOM} ${PROGRAM_NEEDS})
  if(TARGET ${PROGRAM_ROOM}_test)
    add_dependencies(${PROGRAM_ROOM}_test ${name})
  endif()
endfunction()

# The program of an object library, with the sources that a patch changes as the patch has them: NAME.patch makes
# mutants/NAME. The linker takes a symbol from the library of a room only where no object has it.
function(sluice_mutant patch objects)
  get_filename_component(name ${patch} NAME_WE)
  set(folder ${CMAKE_BINARY_DIR}/mutants/${name}.src)
  file(STRINGS ${patch} lines REGEX "^--- a/")
  set(changed)
  set(sources)
  foreach(line IN LISTS lines)
    string(REPLACE "--- a/" "" source "${line}")
    list(APPEND changed ${source})
    list(APPEND sources ${folder}/${source})
  endforeach()
  set(copies)
  foreach(source IN LISTS changed)
    list(APPEND copies COMMAND ${CMAKE_COMMAND} -E copy ${CMAKE_SOURCE_DIR}/${source} ${folder}/${source})
  endforeach()
  list(TRANSFORM changed PREPEND ${CMAKE_SOURCE_DIR}/)
  add_custom_command(OUTPUT ${sources} DEPENDS ${patch} ${changed} ${copies}
                     COMMAND patch --quiet -p1 -d ${folder} -i ${patch} VERBATIM)
  add_executable(mutant_${name} ${sources})
  set_target_properties(mutant_${name} PROPERTIES OUTPUT_NAME mutants/${name})
  target_include_directories(mutant_${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(mutant_${name} PRIVATE ${objects})
  # It is found within a few hundred runs, and each finding says what went wrong.
  add_test(NAME mutant.${name} COMMAND mutant_${name} 300)
  set_tests_properties(mutant.${name} PROPERTIES TIMEOUT 300 PASS_REGULAR_EXPRESSION "seed [0-9]+: ")
endfunction()

# Puts a text file into a target, as `extern const char* const NAME` of a namespace.
function(sluice_embed target file namespace name)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${file})
  file(READ ${CMAKE_SOURCE_DIR}/${file} text)
  set(source ${CMAKE_BINARY_DIR}/${name}.cc)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT
       "namespace @namespace@ {\nextern const char* const @name@;\nconst char* const @name@ = R\"text(@text@)text\";\n}\n")
  set_source_files_properties(${source} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
  target_sources(${target} PRIVATE ${source})
endfunction()
