// A product with weights of the network, their bias, and the adapters of low rank beside them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/internal/raw_network.h"
#include "model/operators.h"
#include "model/parameters.h"

namespace sluice::model {

// One weight [out, in]; several of the same input make one Linear.
struct LinearPart {
  std::string name;  // without ".weight"
  int64_t out = 0;
};

struct LinearOptions {
  int64_t in = 0;
  bool bias = false;
  bool transposed = false;  // in the file
  bool router = false;      // its rows score experts
};

class Linear {
 public:
  Linear() = default;
  // Declares the weights and then the biases of `parts`, adjacent each.
  Linear(Parameters& parameters, const std::vector<LinearPart>& parts, const LinearOptions& options);

  void bind(Parameters& parameters);
  // A and B [rank, in], [out, rank] beside each part, undefined where it has none; y += scale * B A x.
  struct Adapter {
    at::Tensor a, b;
  };
  void adapt(std::vector<Adapter> adapters, double scale);
  // Whether they take part; as they come, they do.
  void use_adapters(bool uses) { uses_adapters_ = uses; }

  at::Tensor operator()(const at::Tensor& x) const;

  cpu::Product describe(RawVectors& vectors) const;  // of a packed weight

  // For who needs the numbers themselves: all parts as one matrix, the adapters merged in, float32 at least.
  at::Tensor merged() const;
  const FusedWeight& weight() const { return weight_; }
  size_t first() const { return first_; }
  const std::vector<LinearPart>& parts() const { return parts_; }
  int64_t in() const { return in_; }

 private:
  bool is_adapted() const { return uses_adapters_ && !adapters_.empty(); }
  at::Tensor delta(const at::Tensor& x) const;

  std::vector<LinearPart> parts_;
  int64_t in_ = 0;
  size_t first_ = 0;
  std::optional<size_t> first_bias_;
  FusedWeight weight_;
  std::vector<at::Tensor> biases_;
  std::vector<Adapter> adapters_;  // empty, or one a part
  double scale_ = 0.0;
  bool uses_adapters_ = true;
};

}  // namespace sluice::model
