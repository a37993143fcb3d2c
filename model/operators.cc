#include "model/operators.h"

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"
#include "model/internal/raw_operators.h"

namespace sluice::model {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

template <class... Tensors>
bool wants_grad(const Tensors&... tensors) {
  return at::GradMode::is_enabled() && (tensors.requires_grad() || ...);
}

Rounding rounding_of(AutogradContext* ctx) {
  return static_cast<Rounding>(ctx->saved_data["rounding"].toInt());
}

// Where the gradients of such a leaf are added up, in this type; undefined where there is no such tensor yet.
// An operator that adds to it itself makes none of the size of a vocabulary, and gives none back.
Tensor gradient_sum(const Tensor& leaf, at::ScalarType type) {
  if (!leaf.defined() || !leaf.is_leaf() || !leaf.grad().defined()) return {};
  const auto& sum = leaf.grad();
  return sum.scalar_type() == type && sum.is_contiguous() ? sum : Tensor();
}

bool needs(AutogradContext* ctx, size_t input) { return ctx->needs_input_grad(input); }

struct Linear : Function<Linear> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight) {
    ctx->save_for_backward({x, weight});
    return raw::linear(x, weight);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    return {needs(ctx, 0) ? raw::linear_grad_x(grads[0], saved[1]) : Tensor(),
            needs(ctx, 1) ? raw::linear_grad_weight(grads[0], saved[0]) : Tensor()};
  }
};

struct FusedLinear : Function<FusedLinear> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& all, at::TensorList parts,
                        Rounding rounding) {
    const Weight weight(all, {}, rounding);
    ctx->save_for_backward({raw::kept_rows(x, weight), all});
    ctx->saved_data["rounding"] = static_cast<int64_t>(rounding);
    std::vector<int64_t> widths;
    for (const auto& part : parts) widths.push_back(part.size(0));
    ctx->saved_data["widths"] = widths;
    return raw::linear(x, weight);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Weight weight(saved[1], {}, rounding_of(ctx));
    // Once for both; kernels round as they read.
    const auto grad = raw::has_kernels(grads[0]) ? grads[0] : raw::rounded(grads[0], weight.rounds_rows_to());
    variable_list result{needs(ctx, 0) ? raw::linear_grad_x(grad, weight) : Tensor(), Tensor()};
    const auto widths = ctx->saved_data["widths"].toIntVector();
    bool trains = false;  // any of the parts
    for (size_t i = 0; i < widths.size(); ++i) trains = trains || needs(ctx, 2 + i);
    if (!trains) {
      result.resize(3 + widths.size());
      return result;
    }
    const auto grad_all = raw::linear_grad_weight(grad, saved[0], weight.rounds_rows_to());
    int64_t first = 0;
    for (const int64_t width : widths) {
      result.push_back(grad_all.narrow(0, first, width));
      first += width;
    }
    result.emplace_back();  // of the rounding
    return result;
  }
};

struct Embedding : Function<Embedding> {
  static Tensor forward(AutogradContext* ctx, const Tensor& table, const Tensor& tokens) {
    // What is no parameter is not kept for its gradient alone.
    ctx->save_for_backward({tokens, table.is_leaf() ? table : Tensor()});
    ctx->saved_data["vocab"] = table.size(0);
    return raw::at_least_float(table.index_select(0, tokens));
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto sum = gradient_sum(saved[1], grads[0].scalar_type());
    const auto grad = raw::embedding_backward(grads[0], saved[0], ctx->saved_data["vocab"].toInt(), sum);
    return {sum.defined() ? Tensor() : grad, Tensor()};
  }
};

struct RmsNorm : Function<RmsNorm> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, double eps) {
    const auto [out, inverse_rms] = raw::rms_norm(x, weight, eps);
    ctx->save_for_backward({x, weight, inverse_rms});
    return out;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto [grad_x, grad_weight] = raw::rms_norm_backward(grads[0], saved[0], saved[1], saved[2]);
    return {grad_x, grad_weight, Tensor()};
  }
};

struct Gated : Function<Gated> {
  static Tensor forward(AutogradContext* ctx, const Tensor& gate_up, Activation activation) {
    ctx->save_for_backward({gate_up});
    ctx->saved_data["activation"] = static_cast<int64_t>(activation);
    return raw::gated(gate_up, activation);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto activation = static_cast<Activation>(ctx->saved_data["activation"].toInt());
    return {raw::gated_backward(grads[0], ctx->get_saved_variables()[0], activation), Tensor()};
  }
};

struct Rope : Function<Rope> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& cos, const Tensor& sin,
                        const Tensor& positions, int64_t heads, RopeLayout layout) {
    ctx->save_for_backward({cos, sin, positions});
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["layout"] = static_cast<int64_t>(layout);
    return raw::rope(x, cos, sin, positions, heads, layout, /*backward=*/false);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const int64_t heads = ctx->saved_data["heads"].toInt();
    const auto layout = static_cast<RopeLayout>(ctx->saved_data["layout"].toInt());
    variable_list result(6);
    result[0] = raw::rope(grads[0], saved[0], saved[1], saved[2], heads, layout, /*backward=*/true);
    return result;
  }
};

variable_list head_views(const Tensor& x, int64_t heads, int64_t kv_heads) {
  return {x.narrow(1, 0, heads), x.narrow(1, heads, kv_heads), x.narrow(1, heads + kv_heads, kv_heads)};
}

// The attention kernels leave their gradients side by side in one buffer: then nothing is copied.
Tensor joined(const Tensor& q, const Tensor& k, const Tensor& v) {
  const int64_t heads = q.size(1) + k.size(1) + v.size(1), dim = q.size(2);
  const auto follows = [&](const Tensor& a, const Tensor& b) {
    return a.storage().is_alias_of(b.storage()) && b.strides() == a.strides() &&
           b.storage_offset() == a.storage_offset() + a.size(1) * dim;
  };
  const std::vector<int64_t> strides{heads * dim, dim, 1};
  if (q.strides() == at::IntArrayRef(strides) && follows(q, k) && follows(k, v)) {
    return q.as_strided({q.size(0), heads, dim}, strides, q.storage_offset());
  }
  return at::cat({q, k, v}, 1);
}

struct SplitHeads : Function<SplitHeads> {
  static variable_list forward(AutogradContext*, const Tensor& x, int64_t heads, int64_t kv_heads) {
    // Below autograd the views are plain tensors, so that this backward alone speaks for them.
    const at::AutoDispatchBelowADInplaceOrView below;
    return head_views(x, heads, kv_heads);
  }
  static variable_list backward(AutogradContext*, variable_list grads) {
    return {joined(grads[0], grads[1], grads[2]), Tensor(), Tensor()};
  }
};

// What a backward keeps of a call besides tensors.
struct AttentionCall : torch::CustomClassHolder {
  AttentionCall(std::shared_ptr<const AttentionPlan> plan_in, const AttentionOptions& options_in)
      : plan(std::move(plan_in)), options(options_in) {}
  const std::shared_ptr<const AttentionPlan> plan;
  const AttentionOptions options;
};

struct Attention : Function<Attention> {
  static Tensor forward(AutogradContext* ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                        const c10::intrusive_ptr<AttentionCall>& call) {
    const auto [out, softmax] = raw::attention(q, k, v, *call->plan, call->options);
    ctx->save_for_backward({q, k, v, out, softmax});
    ctx->saved_data["call"] = at::IValue::make_capsule(call);
    return out;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto capsule = ctx->saved_data["call"].toCapsule();
    const auto& call = static_cast<const AttentionCall&>(*capsule);
    const auto [grad_q, grad_k, grad_v] = raw::attention_backward(
        grads[0], saved[0], saved[1], saved[2], saved[3], saved[4], *call.plan, call.options);
    return {grad_q, grad_k, grad_v, Tensor()};
  }
};

struct LogprobsOfTokens : Function<LogprobsOfTokens> {
  static variable_list forward(AutogradContext* ctx, const Tensor& hidden, const Tensor& head,
                               const Tensor& targets, const LogitOptions& options, Rounding rounding) {
    const auto [logprobs, entropy, lse, is_top] =
        raw::token_logprobs(hidden, Weight(head, {}, rounding), targets, options);
    ctx->saved_data["rounding"] = static_cast<int64_t>(rounding);
    ctx->save_for_backward({hidden, head, targets, lse, entropy});
    ctx->saved_data["temperature"] = options.temperature;
    ctx->saved_data["soft_cap"] = options.soft_cap;
    ctx->set_materialize_grads(false);  // mostly nobody asks for the entropy's
    ctx->mark_non_differentiable({is_top});
    return {logprobs, entropy, is_top};
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const LogitOptions options{.temperature = ctx->saved_data["temperature"].toDouble(),
                               .soft_cap = ctx->saved_data["soft_cap"].toOptional<double>()};
    const raw::TokenLogprobGrads of{.logprobs = grads[0].defined() ? grads[0] : at::zeros_like(saved[3]),
                                    .entropy = grads[1]};
    const bool trains = needs(ctx, 1);
    const auto sum = trains ? gradient_sum(saved[1], saved[0].scalar_type()) : Tensor();
    const auto [grad_hidden, grad_head] = raw::token_logprobs_backward(
        of, saved[0], Weight(saved[1], {}, rounding_of(ctx)), saved[2],
        {.lse = saved[3], .entropy = saved[4]}, options, /*head_is_frozen=*/!trains, sum);
    return {grad_hidden, sum.defined() ? Tensor() : grad_head, Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight) {
  return wants_grad(x, weight) ? Linear::apply(x, weight) : raw::linear(x, weight);
}

Tensor linear(const Tensor& x, const FusedWeight& weight) {
  if (!at::GradMode::is_enabled()) return raw::linear(x, weight.all);
  bool grad = x.requires_grad();
  for (const auto& part : weight.parts) grad = grad || part.requires_grad();
  return grad ? FusedLinear::apply(x, weight.all.rows, at::TensorList(weight.parts), weight.all.rounding)
              : raw::linear(x, weight.all);
}

Tensor embedding(const Tensor& table, const Tensor& tokens) {
  return wants_grad(table) ? Embedding::apply(table, tokens)
                           : raw::at_least_float(table.index_select(0, tokens));
}

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  return wants_grad(x, weight) ? RmsNorm::apply(x, weight, eps) : std::get<0>(raw::rms_norm(x, weight, eps));
}

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  const auto wide = raw::at_least_float(x);
  const auto normed =
      at::layer_norm(wide, weight.sizes(), raw::in_type_of(wide, weight), raw::in_type_of(wide, bias), eps);
  return raw::in_type_of(x, normed);
}

Tensor activate(const Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::Silu:
      return at::silu(x);
    case Activation::Gelu:
      return at::gelu(x);
    case Activation::GeluTanh:
      return at::gelu(x, "tanh");
  }
  fail("activate: no activation has the number ", static_cast<int>(activation));
}

Tensor gated(const Tensor& gate_up, Activation activation) {
  return wants_grad(gate_up) ? Gated::apply(gate_up, activation) : raw::gated(gate_up, activation);
}

Tensor rope(const Tensor& x, const Tensor& cos, const Tensor& sin, const Tensor& positions, int64_t heads,
            RopeLayout layout) {
  require(2 * cos.size(1) <= x.size(2) && heads <= x.size(1), "rope: ", cos.size(1), " pairs of ", heads,
          " heads in ", x.sizes());
  return wants_grad(x) ? Rope::apply(x, cos, sin, positions, heads, layout)
                       : raw::rope(x, cos, sin, positions, heads, layout, /*backward=*/false);
}

std::tuple<Tensor, Tensor, Tensor> split_heads(const Tensor& x, int64_t heads, int64_t kv_heads) {
  auto parts = wants_grad(x) ? SplitHeads::apply(x, heads, kv_heads) : head_views(x, heads, kv_heads);
  return {parts[0], parts[1], parts[2]};
}

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v,
                 const std::shared_ptr<const AttentionPlan>& plan, const AttentionOptions& options) {
  if (!wants_grad(q, k, v)) return std::get<0>(raw::attention(q, k, v, *plan, options));
  return Attention::apply(q, k, v, c10::make_intrusive<AttentionCall>(plan, options));
}

TokenLogprobs token_logprobs(const Tensor& hidden, const Weight& head, const Tensor& targets,
                             const LogitOptions& options) {
  require(options.temperature > 0, "token_logprobs: temperature ", options.temperature);
  require(targets.dim() == 1 && targets.size(0) == hidden.size(0), "token_logprobs: ", targets.sizes(),
          " targets for hidden states ", hidden.sizes());
  if (wants_grad(hidden, head.rows)) {
    auto parts = LogprobsOfTokens::apply(hidden, head.rows, targets, options, head.rounding);
    return {parts[0], parts[1], parts[2]};
  }
  auto parts = raw::token_logprobs(hidden, head, targets, options);
  return {parts.logprobs, parts.entropy, parts.is_top};
}

}  // namespace sluice::model
