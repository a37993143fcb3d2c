#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <sstream>
#include <utility>

#include "actors/engine.h"
#include "app/bench/rows.h"
#include "app/model_arguments.h"
#include "base/error.h"
#include "base/philox.h"
#include "base/shared_work.h"
#include "learner/training_batch.h"
#include "model/model_directory.h"

namespace sluice::app {
namespace {

constexpr double kTemperature = 0.7;
constexpr int64_t kGroups = 8, kSamples = 5;

// Where other families differ from a Llama, in small.
model::ModelConfig family_config(const std::string& name) {
  Json json = {{"vocab_size", 1024},
               {"hidden_size", 128},
               {"intermediate_size", 352},
               {"num_hidden_layers", 3},
               {"num_attention_heads", 4},
               {"num_key_value_heads", 2},
               {"max_position_embeddings", 128},
               {"rms_norm_eps", 1e-6},
               {"rope_theta", 10000.0},
               {"tie_word_embeddings", true}};
  if (name == "qwen2") {
    json.update({{"model_type", "qwen2"}, {"hidden_act", "silu"}});
  } else {
    json.update({{"model_type", "gemma2"},
                 {"hidden_activation", "gelu_pytorch_tanh"},
                 {"head_dim", 32},
                 {"query_pre_attn_scalar", 48},
                 {"attn_logit_softcapping", 5.0},
                 {"final_logit_softcapping", 8.0},
                 {"sliding_window", 8},
                 {"layer_types", {"sliding_attention", "full_attention", "sliding_attention"}}});
  }
  return model::model_config_from_json(json, "bench " + name);
}

// Wide enough that attention looks at something and the filters cut something off; biases that are not zero
// show where one is forgotten.
void spread_weights(model::Network& network) {
  const at::NoGradGuard no_grad;
  const auto& slots = network.weights().slots();
  for (size_t i = 0; i < slots.size(); ++i) {
    auto tensor = network.parameters()[i].tensor;
    if (slots[i].kind == model::ParameterKind::Vector) {
      tensor.copy_(at::arange(tensor.numel(), at::kFloat).sin().mul(0.1).view(tensor.sizes()));
    } else if (slots[i].kind == model::ParameterKind::Matrix ||
               slots[i].kind == model::ParameterKind::Table) {
      tensor.mul_(4);
    }
  }
}

std::unique_ptr<model::Network> make_actor(const std::string& name, at::ScalarType dtype) {
  if (std::filesystem::is_directory(name)) {
    return model::load_model(find_model(name), at::kCPU, {.dtype = dtype});
  }
  const auto config = name == "qwen2" || name == "gemma2" ? family_config(name) : bench_config(name);
  auto network = std::make_unique<model::Network>(config, at::kCPU, dtype);
  network->init(1);
  spread_weights(*network);
  return network;
}

// The same weights as numbers of float32, to be trained.
std::unique_ptr<model::Network> make_learner(const model::Network& actor) {
  auto learner = std::make_unique<model::Network>(actor.config(), at::kCPU);
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < actor.parameters().size(); ++i) {
    auto tensor = learner->parameters()[i].tensor;
    tensor.copy_(actor.parameters()[i].tensor);
  }
  return learner;
}

std::vector<actors::GenerationRequest> match_requests(const model::ModelConfig& config) {
  std::vector<actors::GenerationRequest> requests;
  for (uint64_t group = 0; group < kGroups; ++group) {
    std::vector<int32_t> prompt(1 + random_bits(1, RandomUse::Data, group, 0) % 20);
    for (size_t t = 0; t < prompt.size(); ++t) {
      prompt[t] = static_cast<int32_t>(random_bits(2, RandomUse::Data, group, t) %
                                       static_cast<uint64_t>(config.vocab_size));
    }
    requests.push_back({.id = group,
                        .prompt = std::move(prompt),
                        .num_samples = kSamples,
                        .seed = 3,
                        .group = group,
                        .sampling = {.temperature = kTemperature,
                                     .top_k = 50,
                                     .top_p = 0.9,
                                     .max_new_tokens = static_cast<int64_t>(4 + 3 * group)}});
  }
  return requests;
}

// What the actor wrote down, as the learner packs it: a prompt once, its completions behind it.
learner::MicroBatch record(const model::Network& actor, int threads) {
  const auto requests = match_requests(actor.config());
  // Fewer slots than completions, and groups of different lengths: a batch is another at nearly every step.
  actors::Engine engine(actor, /*stop_ids=*/{}, {.max_rows = 7, .threads = threads});
  for (const auto& request : requests) engine.submit(request);
  learner::TrainingBatch batch;
  while (!engine.idle()) {
    for (auto& result : engine.step(/*version=*/0)) {
      batch.advantages.emplace_back(result.completions.size(), 0.0);
      batch.groups.push_back({.group = result.id,
                              .prompt = requests[result.id].prompt,
                              .completions = std::move(result.completions)});
    }
  }
  constexpr int64_t kAllTogether = int64_t{1} << 20;
  return learner::cut_into_micro_batches(batch, kAllTogether, at::kCPU).at(0);
}

bool match_one(const std::string& name, const std::string& dtype, Report& report) {
  const auto actor = make_actor(name, model::dtype_named(dtype).value());
  const auto learner = make_learner(*actor);
  actor->freeze();
  bool all_equal = true;
  for (const int threads : {1, 2}) {
    set_work_threads(threads);  // the learner's
    const auto recorded = record(*actor, threads);
    const auto computed = learner->logprobs(recorded.batch, recorded.targets, kTemperature).logprobs;
    require(computed.requires_grad(), "bench match: the learner's log-probs of ", name, " have no gradient");
    const auto difference = (computed.detach() - recorded.behaviour_logprobs).abs();
    // What is no number is different, too.
    const int64_t different =
        computed.numel() - (computed.detach() == recorded.behaviour_logprobs).sum().item<int64_t>();
    const double most = difference.max().item<double>();
    all_equal = all_equal && different == 0;
    const Json line = {{"row", "match"},
                       {"model", name},
                       {"dtype", dtype},
                       {"threads", threads},
                       {"temperature", kTemperature},
                       {"top_k", 50},
                       {"top_p", 0.9},
                       {"group", kSamples},
                       {"compared", computed.numel()},
                       {"different", different},
                       {"max_difference", most}};
    std::ostringstream text;
    text << "match    " << name << " " << dtype << ", threads " << threads << ": " << different << " of "
         << computed.numel() << " log-probs differ, by " << most << " at most";
    report.add(line, text.str());
  }
  return all_equal;
}

}  // namespace

bool bench_match(const std::vector<std::string>& names, const std::vector<std::string>& dtypes,
                 Report& report) {
  static const std::vector<std::string> kShapes = {"tiny", "S", "qwen2", "gemma2"};
  bool all_equal = true;
  for (const auto& name : names.empty() ? kShapes : names) {
    for (const auto& dtype : dtypes) all_equal = match_one(name, dtype, report) && all_equal;
  }
  return all_equal;
}

}  // namespace sluice::app
