#include "learner/value_loss.h"

#include <ATen/ATen.h>

#include "base/error.h"

namespace sluice::learner {
namespace {

constexpr double kVarianceEps = 1e-5;

}  // namespace

ValueLoss value_loss(const ValueLossInputs& in, double clip) {
  require(in.values.dim() == 1 && in.old_values.sizes() == in.values.sizes() &&
              in.returns.sizes() == in.values.sizes() && in.weights.sizes() == in.values.sizes(),
          "value_loss: values are ", in.values.sizes(), ", old values ", in.old_values.sizes(), ", returns ",
          in.returns.sizes(), ", weights ", in.weights.sizes());
  require(clip > 0.0, "value_loss: a clip of ", clip);
  const auto old_values = in.old_values.detach(), returns = in.returns.detach();
  const auto near = at::minimum(at::maximum(in.values, old_values - clip), old_values + clip);
  const auto error = (in.values - returns).square(), clipped = (near - returns).square();
  return {.loss = 0.5 * (at::maximum(error, clipped) * in.weights.detach().to(in.values.scalar_type())).sum(),
          .clipped = clipped.gt(error).sum().item<double>()};
}

double explained_variance(const at::Tensor& returns, const at::Tensor& values) {
  require(returns.sizes() == values.sizes(), "explained_variance: returns are ", returns.sizes(), ", values ",
          values.sizes());
  if (returns.numel() < 2) return 0.0;
  const auto wide = returns.detach().to(at::kDouble);
  const double left = (wide - values.detach().to(at::kDouble)).var().item<double>();
  return 1.0 - left / (wide.var().item<double>() + kVarianceEps);
}

}  // namespace sluice::learner
