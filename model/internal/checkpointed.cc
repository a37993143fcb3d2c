#include "model/internal/checkpointed.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

namespace sluice::model {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct BlockCall : torch::CustomClassHolder {
  BlockCall(const BlockPlace& place_in, std::shared_ptr<Pass> pass_in)
      : place(place_in), pass(std::move(pass_in)) {}
  const BlockPlace place;
  const std::shared_ptr<Pass> pass;
};

// The next hidden states, and the router's logits where the block has experts: their balance has a gradient
// of its own.
variable_list compute(const BlockCall& call, Tensor hidden) {
  const auto before = std::exchange(call.pass->routed, {});
  variable_list results{call.place.block.forward(std::move(hidden), *call.pass)};
  auto own = std::exchange(call.pass->routed, before);
  for (auto& [logits, experts] : own) {
    results.push_back(std::move(logits));
    results.push_back(std::move(experts));
  }
  return results;
}

struct Checkpointed : Function<Checkpointed> {
  static variable_list forward(AutogradContext* ctx, const Tensor& hidden, const Tensor& /*anchor*/,
                               const c10::intrusive_ptr<BlockCall>& call) {
    ctx->save_for_backward({hidden});
    ctx->saved_data["call"] = at::IValue::make_capsule(call);
    ctx->set_materialize_grads(false);
    // Without gradients a block works in place.
    auto results = call->place.compute([&] { return compute(*call, hidden.clone()); });
    if (results.size() > 1) ctx->mark_non_differentiable({results[2]});
    return results;
  }

  // The block's own parameters get their gradients from the inner backward, as they would from the outer one.
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto capsule = ctx->saved_data["call"].toCapsule();
    const auto& call = static_cast<const BlockCall&>(*capsule);
    const auto hidden = ctx->get_saved_variables()[0].detach();
    hidden.set_requires_grad(ctx->needs_input_grad(0));
    return {call.place.compute([&] { return gradient(call, hidden, std::move(grads)); }), Tensor(), Tensor()};
  }

  // Of the hidden states; the block's parameters get theirs on the way.
  static Tensor gradient(const BlockCall& call, const Tensor& hidden, variable_list grads) {
    variable_list results, wanted, grads_of_wanted;
    {
      const at::AutoGradMode with_gradients(true);
      results = compute(call, hidden);
    }
    for (size_t i = 0; i < results.size(); ++i) {
      if (!grads[i].defined()) continue;
      wanted.push_back(std::move(results[i]));
      grads_of_wanted.push_back(std::move(grads[i]));
    }
    torch::autograd::backward(wanted, grads_of_wanted);
    if (call.place.weights != nullptr) call.place.weights->take_gradient(call.place.index);
    return hidden.grad();
  }
};

}  // namespace

Tensor checkpointed(const BlockPlace& place, const Tensor& hidden, const std::shared_ptr<Pass>& pass) {
  // Lets the backward come by where the hidden states want no gradient, as below the first adapters.
  const auto anchor = at::empty({0}, hidden.options()).set_requires_grad(true);
  auto results = Checkpointed::apply(hidden, anchor, c10::make_intrusive<BlockCall>(place, pass));
  if (results.size() > 1) pass->routed.push_back({results[1], results[2]});
  return results[0];
}

}  // namespace sluice::model
