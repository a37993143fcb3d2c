// The weights of one policy version as processes share them: in the order in which products read them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace sluice::model {

// The numbers of Network::flat(), for networks that the kernels' own forward does not compute. All other
// layouts are named by their panels and what the numbers in them are; every processor reads the same ones.
inline constexpr std::string_view kRowsLayout = "rows-float32";

// Who writes it somewhere packs the weights once, for everybody who maps them there.
struct WeightSnapshot {
  std::string layout;
  int64_t bytes = 0;
  std::function<void(void* image)> write;  // fills `bytes` bytes, aligned to 64
};

}  // namespace sluice::model
