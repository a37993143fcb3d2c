#include "model/internal/feed_forward.h"

#include <ATen/ATen.h>

#include <optional>

#include "model/experts.h"
#include "model/families/family.h"

namespace sluice::model {
namespace {

class Mlp : public FeedForward {
 public:
  struct Names {
    std::string gate, up, gate_up, down;  // gate_up instead of the first two, or ""; no gate: plain
  };

  Mlp(Parameters& parameters, const ModelConfig& config, const Names& names, int64_t width)
      : gated_(config.gated_mlp), activation_(config.activation) {
    const bool transposed = config.family->names.transposed;
    std::vector<LinearPart> parts = {{names.up, width}};
    if (gated_) parts.insert(parts.begin(), {names.gate, width});
    if (gated_ && !names.gate_up.empty()) parts = {{names.gate_up, 2 * width}};
    up_ = Linear(parameters, parts,
                 {.in = config.hidden_size, .bias = config.mlp_bias, .transposed = transposed});
    down_ = Linear(parameters, {{names.down, config.hidden_size}},
                   {.in = width, .bias = config.mlp_bias, .transposed = transposed});
  }

  void bind(Parameters& parameters) override {
    up_.bind(parameters);
    down_.bind(parameters);
  }
  std::vector<Linear*> linears() override { return {&up_, &down_}; }
  void describe(cpu::TransformerLayer& layer, RawVectors& vectors) const override {
    layer.gate_up = up_.describe(vectors);
    layer.down = down_.describe(vectors);
  }

  at::Tensor forward(const at::Tensor& x, Pass&) const override { return forward(x); }
  at::Tensor forward(const at::Tensor& x) const {
    const auto up = up_(x);
    return down_(gated_ ? gated(up, activation_) : activate(up, activation_));
  }

 private:
  const bool gated_;
  const Activation activation_;
  Linear up_, down_;
};

class ExpertMlp : public FeedForward {
 public:
  ExpertMlp(Parameters& parameters, const ModelConfig& config, const std::string& prefix)
      : options_(config.experts->router), activation_(config.activation) {
    const auto& names = config.family->names;
    const auto& experts = *config.experts;
    const auto named = [&](std::string_view name) { return prefix + std::string(name); };
    router_ = Linear(parameters, {{named(names.router), experts.num_experts}},
                     {.in = config.hidden_size, .router = true});
    if (experts.selection_bias) {
      selection_bias_ = parameters.add({.name = named(names.selection_bias),
                                        .shape = {experts.num_experts},
                                        .kind = ParameterKind::Buffer});
    }
    for (int64_t e = 0; e < experts.num_experts; ++e) {
      const std::string expert = named(names.experts) + std::to_string(e) + ".";
      const auto part = [&](std::string_view name) { return expert + std::string(name); };
      up_.emplace_back(parameters,
                       std::vector<LinearPart>{{part(names.expert_gate), experts.intermediate_size},
                                               {part(names.expert_up), experts.intermediate_size}},
                       LinearOptions{.in = config.hidden_size});
      down_.emplace_back(parameters, std::vector<LinearPart>{{part(names.expert_down), config.hidden_size}},
                         LinearOptions{.in = experts.intermediate_size});
    }
    if (experts.shared_intermediate_size == 0) return;
    const std::string shared = named(names.shared_experts);
    shared_.emplace(parameters, config,
                    Mlp::Names{.gate = shared + std::string(names.expert_gate),
                               .up = shared + std::string(names.expert_up),
                               .gate_up = {},
                               .down = shared + std::string(names.expert_down)},
                    experts.shared_intermediate_size);
  }

  void bind(Parameters& parameters) override {
    router_.bind(parameters);
    if (selection_bias_) bias_ = parameters[*selection_bias_];
    experts_.clear();
    for (size_t e = 0; e < up_.size(); ++e) {
      up_[e].bind(parameters);
      down_[e].bind(parameters);
      experts_.push_back({.gate_up = up_[e].weight(), .down = down_[e].weight()});
    }
    if (shared_) shared_->bind(parameters);
  }

  std::vector<Linear*> linears() override { return {}; }

  at::Tensor forward(const at::Tensor& x, Pass& pass) const override {
    const auto logits = router_(x);
    const auto bias = bias_.defined() ? bias_.to(logits.scalar_type()) : bias_;
    const auto routing = route(logits, bias, options_);
    if (pass.trains()) pass.routed.push_back({logits, routing.experts});
    const auto mixed = mix_experts(x, routing, experts_, activation_);
    return shared_ ? mixed + shared_->forward(x) : mixed;
  }

 private:
  const RouterOptions options_;
  const Activation activation_;
  Linear router_;
  std::optional<size_t> selection_bias_;
  at::Tensor bias_;
  std::vector<Linear> up_, down_;
  std::vector<Expert> experts_;
  std::optional<Mlp> shared_;
};

}  // namespace

std::unique_ptr<FeedForward> make_feed_forward(Parameters& parameters, const ModelConfig& config,
                                               int64_t index, const std::string& prefix) {
  if (config.layers[static_cast<size_t>(index)].experts) {
    return std::make_unique<ExpertMlp>(parameters, config, prefix);
  }
  const auto& names = config.family->names;
  const auto named = [&](std::string_view name) { return name.empty() ? "" : prefix + std::string(name); };
  return std::make_unique<Mlp>(parameters, config,
                               Mlp::Names{.gate = named(names.gate),
                                          .up = named(names.up),
                                          .gate_up = named(names.gate_up),
                                          .down = named(names.down)},
                               config.intermediate_size);
}

}  // namespace sluice::model
