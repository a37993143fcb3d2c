// Where the panels, the scales and the plain numbers of a network lie in one piece of memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace sluice::model {

struct ParameterSlot;

// Offsets in bytes, from memory that is aligned to kAlignment. Panels come first and scales after them, so
// that who has the numbers elsewhere needs product_bytes() alone.
class PackedLayout {
 public:
  static constexpr int64_t kAlignment = 64;  // a line of the cache

  // Of panels of that type: float32, bfloat16, float16 or int8, which alone has scales.
  PackedLayout(const std::vector<ParameterSlot>& slots, at::ScalarType panel_type);

  at::ScalarType panel_type() const { return panel_type_; }
  // Of a product with adjacent weights, which has the place of its first one.
  int64_t panels(size_t slot) const { return places_[slot].panels; }
  int64_t scales(size_t slot) const { return places_[slot].scales; }
  // Float32, of a parameter that is not a matrix.
  int64_t numbers(size_t slot) const { return places_[slot].numbers; }

  int64_t product_bytes() const { return product_bytes_; }
  int64_t bytes() const { return bytes_; }

 private:
  struct Place {
    int64_t panels = 0, scales = 0, numbers = 0;
  };
  at::ScalarType panel_type_;
  std::vector<Place> places_;  // [slots]
  int64_t product_bytes_ = 0, bytes_ = 0;
};

}  // namespace sluice::model
