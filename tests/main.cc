// The main of every test binary: GoogleTest's, a new list of the worked examples that are read
// (tests/spec_example.h), and an end that does not wait for LibTorch's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>  // on_exit
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>

namespace {

// Behind what tests keep for their whole process, and before the destructors of libraries: LibTorch takes
// back each of its operators there, for a quarter of what it takes to begin.
[[maybe_unused]] void leave(int status, void*) {
  std::cout.flush();
  std::fflush(nullptr);
  ::_exit(status);
}

}  // namespace

int main(int argc, char** argv) {
#ifndef __SANITIZE_ADDRESS__  // leaks are looked for behind it
  ::on_exit(leave, nullptr);
#endif
  if (const char* examples = std::getenv("SLUICE_SPEC_EXAMPLES")) std::ofstream(examples, std::ios::trunc);
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
