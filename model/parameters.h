// The named tensors of a network, each a view of one flat buffer.
//
// Declared first, so that sizes are known before anything is allocated; bound to a buffer later, which may be
// memory that somebody else owns.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/operators.h"
#include "model/weight_snapshot.h"

namespace sluice::model {

enum class ParameterKind {
  Matrix,  // [out, in] of a product
  Table,   // rows that are looked up
  Norm,    // starts at 1 (at 0 where the norm adds 1 itself)
  Vector,  // a bias
  Buffer,  // loaded and saved, never trained
};

struct ParameterSlot {
  std::string name;            // as in the safetensors file
  std::vector<int64_t> shape;  // as the network uses it
  ParameterKind kind = ParameterKind::Matrix;
  bool transposed = false;                  // the file has the other order of the two sizes
  double initial = 0.0;                     // of a norm, a vector and a buffer
  at::ScalarType stored_type = at::kFloat;  // of the file it was read from
  int64_t offset = 0;                       // in numbers, from the start of the buffer
  int64_t count = 0;

  std::vector<int64_t> stored_shape() const;
};

class Parameters {
 public:
  // Declares a tensor after those before it and returns its index.
  size_t add(ParameterSlot slot);
  void set_stored_type(size_t index, at::ScalarType type) { slots_[index].stored_type = type; }
  // Lets the tensors be views of `flat` [num_numbers()]: leaves that require grad or not. Buffers stay in
  // float32 where `flat` is bfloat16: they have memory of their own then, and zeros stand in their place. Who
  // says that they are `constant` writes to `flat` no more.
  void bind(const at::Tensor& flat, bool requires_grad, bool constant = false);
  bool constant() const { return constant_; }

  const std::vector<ParameterSlot>& slots() const { return slots_; }
  const std::vector<NamedTensor>& tensors() const { return tensors_; }  // empty until bound
  const at::Tensor& flat() const { return flat_; }
  int64_t num_numbers() const { return num_numbers_; }
  // A tensor, and the numbers of `count` adjacent ones as one matrix without gradient.
  const at::Tensor& operator[](size_t index) const { return tensors_[index].tensor; }
  at::Tensor span(size_t first, size_t count) const;
  // span() as products take it: with a copy in the order in which they read it, of constant weights, unless
  // ATen computes the product. Packed here and now, into memory that stays for the weights bound next.
  Weight weight(size_t first, size_t count);
  // Of what weight() gives from the next bind() on; Int8 of constant weights alone.
  void set_rounding(Rounding rounding) { rounding_ = rounding; }
  // Index of the tensor of that name, or -1.
  int64_t find(const std::string& name) const;

 private:
  std::vector<ParameterSlot> slots_;
  std::vector<NamedTensor> tensors_;
  std::map<std::string, size_t> index_;
  at::Tensor flat_;
  bool constant_ = false;
  int64_t num_numbers_ = 0;
  std::vector<int64_t> packed_offsets_;  // [slots], as if each had panels of its own
  int64_t packed_numbers_ = 0;
  Rounding rounding_ = Rounding::None;
  at::Tensor panels_;  // [packed_numbers_], once there are constant weights
};

// "[3, 4]"
std::string shape_text(const std::vector<int64_t>& shape);

}  // namespace sluice::model
