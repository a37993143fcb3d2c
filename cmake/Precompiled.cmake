# Headers that are long and in many files, compiled once.
#
# Half of a build is reading them: <ATen/ATen.h> is a hundred thousand lines, GoogleTest and JSON another hundred. What
# uses a precompiled header has its flags, programs too; ccache wants -fpch-preprocess. Clang, which builds the fuzzers
# alone, goes without.
set(SLUICE_PRECOMPILED_FLAGS $<$<COMPILE_LANGUAGE:CXX>:-fPIC> $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
# A test spends its time in what it tests.
set(SLUICE_TEST_FLAGS ${SLUICE_PRECOMPILED_FLAGS} $<$<CONFIG:Release>:-O0>)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/precompiled.cc CONTENT "")

# sluice_precompiled(NAME FLAGS flag... LIBS library... HEADERS header...)
function(sluice_precompiled name)
  cmake_parse_arguments(PRECOMPILED "" "" "FLAGS;LIBS;HEADERS" ${ARGN})
  add_library(${name} OBJECT EXCLUDE_FROM_ALL ${CMAKE_BINARY_DIR}/precompiled.cc)
  target_link_libraries(${name} PRIVATE ${PRECOMPILED_LIBS} sluice_warnings)
  target_compile_options(${name} PRIVATE ${PRECOMPILED_FLAGS})
  target_precompile_headers(${name} PRIVATE ${PRECOMPILED_HEADERS})
endfunction()
sluice_precompiled(precompiled_aten FLAGS ${SLUICE_PRECOMPILED_FLAGS} LIBS torch HEADERS <ATen/ATen.h>)
set(SLUICE_TEST_HEADERS <gmock/gmock.h> <gtest/gtest.h> <nlohmann/json.hpp>)
set(SLUICE_TEST_LIBS GTest::gtest GTest::gmock nlohmann_json::nlohmann_json)
sluice_precompiled(precompiled_tests FLAGS ${SLUICE_TEST_FLAGS} LIBS ${SLUICE_TEST_LIBS} HEADERS ${SLUICE_TEST_HEADERS})
sluice_precompiled(precompiled_aten_tests FLAGS ${SLUICE_TEST_FLAGS} LIBS torch ${SLUICE_TEST_LIBS}
                   HEADERS <ATen/ATen.h> ${SLUICE_TEST_HEADERS})

# Sets `out` to those of the sources that include ATen.
function(sluice_aten_sources out)
  set(found)
  foreach(source IN LISTS ARGN)
    file(STRINGS ${source} lines REGEX "^#include <ATen/ATen.h>")
    if(lines)
      list(APPEND found ${source})
    endif()
  endforeach()
  set(${out} ${found} PARENT_SCOPE)
endfunction()

# For a target that is no test: of its sources, those that include ATen.
function(sluice_use_precompiled target)
  sluice_aten_sources(aten ${ARGN})
  if(NOT aten OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    return()
  endif()
  set(others ${ARGN})
  list(REMOVE_ITEM others ${aten})
  set_source_files_properties(${others} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
  target_precompile_headers(${target} REUSE_FROM precompiled_aten)
  target_compile_options(${target} PRIVATE ${SLUICE_PRECOMPILED_FLAGS})
endfunction()

# Sets `out` to whether a library of ours is built on LibTorch, itself or through another.
function(sluice_links_torch out library)
  set(${out} FALSE PARENT_SCOPE)
  get_target_property(links ${library} LINK_LIBRARIES)
  foreach(link IN LISTS links)
    set(found FALSE)
    if(link MATCHES "^sluice_" AND NOT link STREQUAL sluice_warnings)
      sluice_links_torch(found ${link})
    endif()
    if(found OR link STREQUAL torch)
      set(${out} TRUE PARENT_SCOPE)
    endif()
  endforeach()
endfunction()

# For the tests of a library, or of the program: all of its sources.
function(sluice_use_precompiled_tests target library)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    return()
  endif()
  sluice_links_torch(links_torch ${library})
  if(links_torch)
    target_precompile_headers(${target} REUSE_FROM precompiled_aten_tests)
  else()
    target_precompile_headers(${target} REUSE_FROM precompiled_tests)
  endif()
  target_compile_options(${target} PRIVATE ${SLUICE_TEST_FLAGS})
endfunction()
