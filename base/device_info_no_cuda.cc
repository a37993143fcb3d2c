#include "base/device_info.h"

namespace sluice {

DeviceInfo device_info() {
  return {.problem = "this program was built without CUDA; `make cuda` builds one with it"};
}

}  // namespace sluice
