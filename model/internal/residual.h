// The stream of hidden states that blocks read and add to.
//
// As operators they differ from + and from using a tensor twice in speed alone: ATen's sums, of a forward and
// of autograd, have one thread in a run, where these are shared among all.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

namespace sluice::model {

// hidden + x; in place where no gradients are wanted.
at::Tensor add_to_stream(const at::Tensor& hidden, const at::Tensor& x);

// `hidden` for two readers, whose gradients are added up.
std::pair<at::Tensor, at::Tensor> for_two(const at::Tensor& hidden);

}  // namespace sluice::model
