# The Debian libraries the rooms link, each as one target.
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(CLI11 REQUIRED)
find_package(GTest REQUIRED)
find_package(PkgConfig REQUIRED)

foreach(library zmq hiredis pcre2 utf8proc httplib seccomp)
  set(package ${library})
  if(library STREQUAL "zmq" OR library STREQUAL "seccomp")
    set(package lib${library})
  elseif(library STREQUAL "utf8proc")
    set(package libutf8proc)
  elseif(library STREQUAL "pcre2")
    set(package libpcre2-8)
  elseif(library STREQUAL "httplib")
    set(package cpp-httplib)
  endif()
  pkg_check_modules(PC_${library} REQUIRED IMPORTED_TARGET ${package})
  add_library(${library} INTERFACE)
  target_link_libraries(${library} INTERFACE PkgConfig::PC_${library})
endforeach()
# hiredis asks for 64-bit file offsets, which a 64-bit system has; the macro alone would part its users from the
# precompiled headers.
set_target_properties(PkgConfig::PC_hiredis PROPERTIES INTERFACE_COMPILE_OPTIONS "")
# Its headers lie in /usr/include. Of the folders that pkg-config names besides, those of libraries behind it, the first
# run of CMake makes other flags than every later one, which would compile all users anew.
set_target_properties(PkgConfig::PC_zmq PROPERTIES INTERFACE_COMPILE_OPTIONS "" INTERFACE_INCLUDE_DIRECTORIES "")
# The macros that its library was built with are for the one file that includes its header.
set_target_properties(PkgConfig::PC_httplib PROPERTIES INTERFACE_COMPILE_OPTIONS "")
