#include "model/packed_layout.h"

#include <c10/core/ScalarType.h>

#include "model/kernels/kernels.h"
#include "model/parameters.h"

namespace sluice::model {

PackedLayout::PackedLayout(const std::vector<ParameterSlot>& slots, at::ScalarType panel_type)
    : panel_type_(panel_type), places_(slots.size()) {
  const auto aligned = [](int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; };
  const auto number = static_cast<int64_t>(c10::elementSize(panel_type));
  int64_t end = 0;
  for (size_t i = 0; i < slots.size(); ++i) {
    if (!slots[i].multiplied()) continue;
    places_[i].panels = end;
    end = aligned(end + cpu::packed_size(slots[i].shape[0], slots[i].shape[1]) * number);
  }
  for (size_t i = 0; i < slots.size() && panel_type == at::kChar; ++i) {
    if (!slots[i].multiplied()) continue;
    places_[i].scales = end;  // adjacent, as the columns of adjacent weights are
    end += slots[i].shape[0] * static_cast<int64_t>(sizeof(float));
  }
  product_bytes_ = end = aligned(end);
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].kind == ParameterKind::Matrix) continue;
    places_[i].numbers = end;
    end = aligned(end + slots[i].count * static_cast<int64_t>(sizeof(float)));
  }
  bytes_ = end;
}

}  // namespace sluice::model
