#include "model/lora.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/philox.h"
#include "model/internal/network_layers.h"
#include "model/network.h"

namespace sluice::model {
namespace {

constexpr std::string_view kFirst = ".lora_A.weight", kSecond = ".lora_B.weight";

constexpr int64_t kMaxRank = 4096;

std::string last_part(const std::string& name) { return name.substr(name.rfind('.') + 1); }

// PEFT's rule.
bool is_named(const std::string& matrix, const std::string& target) {
  return matrix == target || matrix.ends_with("." + target);
}

std::string joined(const std::set<std::string>& names) {
  std::string list;
  for (const auto& name : names) list += (list.empty() ? "" : ", ") + name;
  return list;
}

// Uniform in +- 1/sqrt(in): Kaiming's bound with a = sqrt(5).
void fill_uniform(const at::Tensor& a, uint64_t seed, uint64_t index) {
  auto values = at::empty(a.sizes(), at::kFloat);
  auto* out = values.mutable_data_ptr<float>();
  const double bound = 1.0 / std::sqrt(static_cast<double>(a.size(1)));
  for (int64_t i = 0; i < values.numel(); ++i) {
    const auto bits = random_bits(seed, RandomUse::Init, index, static_cast<uint64_t>(i));
    const double unit = (static_cast<double>(bits >> 11) + 0.5) * 0x1p-53;
    out[i] = static_cast<float>(bound * (2 * unit - 1));
  }
  a.copy_(values);
}

}  // namespace

double LoraConfig::scale() const {
  const auto r = static_cast<double>(rank);
  return alpha / (rslora ? std::sqrt(r) : r);
}

Parameters Network::declare_adapter(const ModelConfig& config, const LoraConfig& lora) {
  require<DataError>(lora.rank >= 1 && lora.rank <= kMaxRank && std::isfinite(lora.alpha), "lora: rank ",
                     lora.rank, ", alpha ", lora.alpha);
  Parameters weights, adapter;
  Layers layers(weights, config, at::kCPU);
  std::set<std::string> known, unused(lora.targets.begin(), lora.targets.end());
  for (Block& block : layers.blocks) {
    for (const Linear* linear : block.linears()) {
      for (const auto& [name, out] : linear->parts()) {
        known.insert(last_part(name));
        bool chosen = lora.targets.empty();
        for (const auto& target : lora.targets) {
          if (!is_named(name, target)) continue;
          chosen = true;
          unused.erase(target);
        }
        if (!chosen) continue;
        adapter.add({.name = name + std::string(kFirst), .shape = {lora.rank, linear->in()}});
        adapter.add({.name = name + std::string(kSecond), .shape = {out, lora.rank}});
      }
    }
  }
  require<DataError>(unused.empty(), "lora: no matrix that can be adapted is called \"",
                     unused.empty() ? "" : *unused.begin(), "\"; those that can: ", joined(known));
  return adapter;
}

void Network::add_adapter(const LoraConfig& lora, uint64_t seed) {
  require(adapter_ == nullptr, "network: it has an adapter already");
  auto adapter = std::make_unique<Parameters>(declare_adapter(config_, lora));
  bind(flat(), /*requires_grad=*/false);
  const auto type = flat().scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  adapter->bind(at::zeros({adapter->num_numbers()}, flat().options().dtype(type)), /*requires_grad=*/true);
  for (Block& block : layers_->blocks) {
    for (Linear* linear : block.linears()) {
      std::vector<Linear::Adapter> pairs;
      bool any = false;
      for (const auto& [name, out] : linear->parts()) {
        const int64_t first = adapter->find(name + std::string(kFirst));
        any = any || first >= 0;
        const auto at = static_cast<size_t>(first);
        pairs.push_back(first < 0 ? Linear::Adapter{} : Linear::Adapter{(*adapter)[at], (*adapter)[at + 1]});
      }
      if (any) linear->adapt(std::move(pairs), lora.scale());
    }
  }
  const c10::NoGradGuard no_grad;
  for (size_t i = 0; i < adapter->slots().size(); i += 2) fill_uniform((*adapter)[i], seed, i);
  adapter_ = std::move(adapter);
  lora_ = lora;
}

void Network::use_adapter(bool uses) {
  require(adapter_ != nullptr, "network: it has no adapter to do without");
  uses_adapter_ = uses;
  for (Block& block : layers_->blocks) {
    for (Linear* linear : block.linears()) linear->use_adapters(uses);
  }
}

// `flat` is a copy of the weights, or the weights themselves.
void Network::add_deltas(const at::Tensor& flat) const {
  const auto& slots = adapter_->slots();
  for (size_t i = 0; i < slots.size(); i += 2) {
    const auto matrix = slots[i].name.substr(0, slots[i].name.size() - kFirst.size());
    const auto& slot = weights_.slots()[static_cast<size_t>(weights_.find(matrix + ".weight"))];
    auto weight = flat.narrow(0, slot.offset, slot.count).view(slot.shape);
    const auto delta = at::mm((*adapter_)[i + 1], (*adapter_)[i]) * lora_->scale();
    weight.copy_(weight.to(delta.scalar_type()) + delta);
  }
}

void Network::merge_adapter() {
  if (adapter_ == nullptr) return;
  const c10::NoGradGuard no_grad;
  add_deltas(flat());
  for (Block& block : layers_->blocks) {
    for (Linear* linear : block.linears()) linear->adapt({}, 0.0);
  }
  adapter_.reset();
  lora_.reset();
  uses_adapter_ = true;
  bind(flat(), /*requires_grad=*/flat().scalar_type() != at::kBFloat16);
}

}  // namespace sluice::model
