#include "model/lora.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/philox.h"
#include "model/internal/network_layers.h"
#include "model/network.h"

namespace sluice::model {
namespace {

constexpr std::string_view kFirst = ".lora_A.weight", kSecond = ".lora_B.weight";

std::string last_part(const std::string& name) { return name.substr(name.rfind('.') + 1); }

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

void Network::add_adapter(const LoraConfig& lora, uint64_t seed) {
  require(adapter_ == nullptr, "network: it has an adapter already");
  require<DataError>(lora.rank >= 1 && lora.rank <= 4096 && std::isfinite(lora.alpha), "lora: rank ",
                     lora.rank, ", alpha ", lora.alpha);
  auto adapter = std::make_unique<Parameters>();
  std::vector<std::string> known;
  struct Place {
    Linear* linear;
    std::vector<int64_t> first;  // of each part: index of its A, or -1
  };
  std::vector<Place> places;
  for (Block& block : layers_->blocks) {
    for (Linear* linear : block.linears()) {
      Place place{linear, {}};
      for (const auto& [name, out] : linear->parts()) {
        known.push_back(last_part(name));
        const bool chosen = lora.targets.empty() || std::ranges::count(lora.targets, known.back()) > 0;
        place.first.push_back(chosen ? static_cast<int64_t>(adapter->slots().size()) : -1);
        if (!chosen) continue;
        adapter->add({.name = name + std::string(kFirst), .shape = {lora.rank, linear->in()}});
        adapter->add({.name = name + std::string(kSecond), .shape = {out, lora.rank}});
      }
      places.push_back(std::move(place));
    }
  }
  for (const auto& target : lora.targets) {
    require<DataError>(std::ranges::count(known, target) > 0, "lora: the network has no matrix \"", target,
                       "\"");
  }
  bind(flat(), /*requires_grad=*/false);
  const auto type = flat().scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  adapter->bind(at::zeros({adapter->num_numbers()}, flat().options().dtype(type)), /*requires_grad=*/true);
  for (const auto& [linear, first] : places) {
    std::vector<Linear::Adapter> pairs;
    for (const int64_t at : first) {
      pairs.push_back(at < 0 ? Linear::Adapter{}
                             : Linear::Adapter{(*adapter)[static_cast<size_t>(at)],
                                               (*adapter)[static_cast<size_t>(at) + 1]});
    }
    if (std::ranges::any_of(first, [](int64_t at) { return at >= 0; }))
      linear->adapt(std::move(pairs), lora.scale());
  }
  const c10::NoGradGuard no_grad;
  for (size_t i = 0; i < adapter->slots().size(); i += 2) fill_uniform((*adapter)[i], seed, i);
  adapter_ = std::move(adapter);
  lora_ = lora;
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
  bind(flat(), /*requires_grad=*/flat().scalar_type() != at::kBFloat16);
}

}  // namespace sluice::model
