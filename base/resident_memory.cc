#include "base/resident_memory.h"

#include <unistd.h>

#include <fstream>

namespace sluice {

int64_t resident_bytes() {
  int64_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

}  // namespace sluice
