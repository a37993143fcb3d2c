# The CUDA toolkit and NCCL, for the build with SLUICE_CUDA=ON.
#
# The toolkit is looked for on PATH, in CUDA_HOME and in its usual folder. SLUICE_CUDA_LIBS is what a room with
# *_cuda.cc files links; it is empty in the other build.
set(SLUICE_CUDA_LIBS)
if(NOT SLUICE_CUDA)
  return()
endif()

find_program(CMAKE_CUDA_COMPILER nvcc HINTS $ENV{CUDA_HOME}/bin /usr/local/cuda/bin)
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "SLUICE_CUDA=ON, but there is no nvcc on PATH, in CUDA_HOME or in /usr/local/cuda/bin.")
endif()
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80 90)  # machine code for A100 and H100; newer GPUs compile the PTX of 90
endif()
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)  # the one LibTorch uses, or there are two runtimes in one process
enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 17)  # of 20 CMake 3.25 knows no option of nvcc
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
find_package(CUDAToolkit 13 REQUIRED)

find_path(SLUICE_NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_library(SLUICE_NCCL_LIBRARY nccl HINTS ${CUDAToolkit_LIBRARY_DIR} ${CUDAToolkit_LIBRARY_ROOT}/lib)
if(NOT SLUICE_NCCL_INCLUDE OR NOT SLUICE_NCCL_LIBRARY)
  message(FATAL_ERROR "SLUICE_CUDA=ON, but there is no nccl.h or libnccl in ${CUDAToolkit_INCLUDE_DIRS} and the "
                      "system's folders. Install NCCL, or pass -DSLUICE_NCCL_INCLUDE=DIR -DSLUICE_NCCL_LIBRARY=FILE.")
endif()
add_library(nccl INTERFACE)
target_include_directories(nccl SYSTEM INTERFACE ${SLUICE_NCCL_INCLUDE})
target_link_libraries(nccl INTERFACE ${SLUICE_NCCL_LIBRARY})
set(SLUICE_CUDA_LIBS CUDA::cudart nccl)

# Old-style RPATH, because LibTorch's own libraries look for cuBLAS, cuDNN and NCCL through the program's.
list(APPEND CMAKE_BUILD_RPATH ${CUDAToolkit_LIBRARY_DIR})
add_link_options(-Wl,--disable-new-dtags)
