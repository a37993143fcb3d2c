// Where each parameter of a network lies in its flat buffer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/model_config.h"
#include "model/weight_snapshot.h"

namespace sluice::model {

struct ParameterSlot {
  std::string name;  // as in the safetensors file
  std::vector<int64_t> shape;
  int64_t offset = 0;  // in numbers, from the start of the buffer
  int64_t count = 0;
  bool is_norm = false;
};

// The embedding, the layers, the last norm and, unless it is tied, the head. What one product can serve (q, k
// and v; gate and up) lies side by side.
std::vector<ParameterSlot> parameter_layout(const ModelConfig& config);

// Throws DataError starting with `where` unless `tensors` are exactly the parameters, in any order, each with
// its shape. A head beside tied embeddings and the frequency buffers of old files are allowed.
void check_tensors(const std::vector<ParameterSlot>& layout, const std::vector<NamedTensor>& tensors,
                   const std::string& where);

}  // namespace sluice::model
