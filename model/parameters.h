// The named tensors of a network, each a view of one flat buffer.
//
// Declared first, so that sizes are known before anything is allocated; bound to a buffer later, which may be
// memory that somebody else owns.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/named_tensor.h"
#include "model/operators.h"
#include "model/packed_layout.h"

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
  bool is_head = false;                     // its products are logits; a table has them beside its lookups
  bool transposed = false;                  // the file has the other order of the two sizes
  bool is_router = false;                   // its products are scores of experts
  double initial = 0.0;                     // of a norm, a vector and a buffer
  at::ScalarType stored_type = at::kFloat;  // of the file it was read from
  int64_t offset = 0;                       // in numbers, from the start of the buffer
  int64_t count = 0;

  bool multiplied() const { return kind == ParameterKind::Matrix || is_head; }
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
  // Lets them be views of `memory`, each from its one of `places` on, which are numbers; several may have the
  // same. Without gradients, and nothing is packed.
  void bind_places(const at::Tensor& memory, std::vector<int64_t> places);
  // Lets them be views of an image that write_image() filled, kept alive by the caller, and weight() give the
  // panels there: constant, and without rows of matrices, of which the sizes alone are left.
  void bind_image(const void* image);
  // What an image has: panels of everything multiplied, as weight() packs float32, and the rest as it is.
  PackedLayout image_layout() const { return {slots_, packed_type(at::kFloat)}; }
  // Lets weight() pack into `image`, and puts there what is not multiplied, from the tensors bound.
  void write_image(void* image);
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
  Rounding rounding() const { return rounding_; }
  // Index of the tensor of that name, or -1.
  int64_t find(const std::string& name) const;

 private:
  std::vector<ParameterSlot> slots_;
  std::vector<NamedTensor> tensors_;
  std::map<std::string, size_t> index_;
  at::Tensor flat_;
  std::vector<int64_t> places_;  // of the slots in flat_, where these are not their offsets
  bool constant_ = false;
  int64_t num_numbers_ = 0;
  at::ScalarType packed_type(at::ScalarType rows) const;

  Rounding rounding_ = Rounding::None;
  std::optional<PackedLayout> layout_;  // of packed_
  at::Tensor packed_;                   // bytes, once there are constant weights
  bool is_packed_ = false;              // somebody else has done it
};

// "[3, 4]"
std::string shape_text(const std::vector<int64_t>& shape);

}  // namespace sluice::model
