# LibTorch as one imported target, `torch`.
#
# SLUICE_LIBTORCH names a folder with include/ and lib/: what scripts/bootstrap unpacked (the default), a
# LibTorch zip, or the `torch` folder of a Python environment. find_package(Torch) is not used: it stops
# where no CUDA toolkit is, although the CPU libraries need none to link.
if(NOT "$ENV{XDG_CACHE_HOME}" STREQUAL "")
  set(SLUICE_CACHE $ENV{XDG_CACHE_HOME}/sluice)
else()
  set(SLUICE_CACHE $ENV{HOME}/.cache/sluice)
endif()
set(SLUICE_LIBTORCH ${SLUICE_CACHE}/libtorch-2.11.0 CACHE PATH "Folder with LibTorch's include/ and lib/")

if(NOT EXISTS ${SLUICE_LIBTORCH}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "No LibTorch in ${SLUICE_LIBTORCH}. Run scripts/bootstrap, or pass -DSLUICE_LIBTORCH=DIR.")
endif()

add_library(torch INTERFACE)
# -idirafter: the wheel's include folder also holds fmt and protobuf, which must not hide the system's.
# Not for .cu files: those include no torch header, it would cost a minute each.
target_compile_options(torch INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-idirafter ${SLUICE_LIBTORCH}/include>"
  "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-idirafter ${SLUICE_LIBTORCH}/include/torch/csrc/api/include>")
target_compile_definitions(torch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
set(SLUICE_TORCH_LIBS torch_cpu c10)
if(SLUICE_CUDA)
  list(PREPEND SLUICE_TORCH_LIBS torch_cuda c10_cuda)
endif()
list(TRANSFORM SLUICE_TORCH_LIBS PREPEND ${SLUICE_LIBTORCH}/lib/lib)
list(TRANSFORM SLUICE_TORCH_LIBS APPEND .so)
# --no-as-needed: libtorch registers its operators from static initialisers, so the linker must keep it.
target_link_libraries(torch INTERFACE -Wl,--no-as-needed ${SLUICE_TORCH_LIBS} -Wl,--as-needed)
target_link_options(torch INTERFACE -Wl,--allow-shlib-undefined)
# at::parallel_for is a loop on one thread without it; one OpenMP runtime, LibTorch's, serves both.
file(GLOB SLUICE_OPENMP ${SLUICE_LIBTORCH}/lib/libgomp*.so*)
if(SLUICE_OPENMP AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(torch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
  target_link_libraries(torch INTERFACE ${SLUICE_OPENMP})
endif()
list(APPEND CMAKE_BUILD_RPATH ${SLUICE_LIBTORCH}/lib)
