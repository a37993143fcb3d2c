# The readers of files that come from outside, under hostile bytes (tests/fuzz).
#
# fuzz_test is in every build: the corpus and some mutations of it. With SLUICE_FUZZ=ON, which needs Clang, there
# is a libFuzzer program fuzz_NAME for each tests/fuzz/NAME_target.cc too; `fuzzers` builds them all.
#
# NEEDS are whole rooms; of a room that Clang does not compile (the kernels of `model` are written for GCC), SOURCES
# names the files that hold the reader.
function(sluice_fuzz)
  cmake_parse_arguments(FUZZ "" "" "NEEDS;SOURCES;LIBS" ${ARGN})
  set(folder ${CMAKE_SOURCE_DIR}/tests/fuzz)
  file(GLOB targets CONFIGURE_DEPENDS ${folder}/*_target.cc)
  list(TRANSFORM FUZZ_NEEDS PREPEND sluice_)
  list(TRANSFORM FUZZ_SOURCES PREPEND ${CMAKE_SOURCE_DIR}/)
  file(GLOB readers CONFIGURE_DEPENDS ${FUZZ_SOURCES})
  add_library(sluice_fuzz_targets STATIC ${targets} ${folder}/targets.cc ${readers})
  target_include_directories(sluice_fuzz_targets PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(sluice_fuzz_targets PRIVATE sluice_warnings PUBLIC ${FUZZ_NEEDS} ${FUZZ_LIBS})

  add_executable(fuzz_test ${folder}/fuzz_corpus_test.cc)
  target_compile_definitions(fuzz_test PRIVATE SLUICE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  target_link_libraries(fuzz_test PRIVATE sluice_fuzz_targets sluice_warnings GTest::gtest GTest::gtest_main)
  add_test(NAME fuzz COMMAND fuzz_test)
  set_tests_properties(fuzz PROPERTIES TIMEOUT 600)

  if(NOT SLUICE_FUZZ)
    return()
  endif()
  add_custom_target(fuzzers)
  foreach(target IN LISTS targets)
    cmake_path(GET target STEM name)
    string(REGEX REPLACE "_target$" "" name ${name})
    add_executable(fuzz_${name} ${folder}/libfuzzer_entry.cc)
    target_compile_definitions(fuzz_${name} PRIVATE SLUICE_FUZZ_TARGET="${name}")
    target_link_libraries(fuzz_${name} PRIVATE sluice_fuzz_targets sluice_warnings)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzzers fuzz_${name})
  endforeach()
endfunction()
