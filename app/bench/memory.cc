#include <iostream>
#include <sstream>
#include <string>

#include "app/bench/completions.h"
#include "app/bench/rows.h"
#include "base/captured_run.h"
#include "base/error.h"
#include "base/json.h"
#include "base/resident_memory.h"
#include "base/shared_work.h"
#include "learner/policy_learner.h"
#include "model/model_directory.h"
#include "optim/optimizer.h"
#include "transport/collective.h"

namespace sluice::app {
namespace {

constexpr Millis kLongestMs = 10 * 60'000;
// So few layers and rows that most of the memory is the vocabulary's.
constexpr int64_t kHidden = 256, kPrompt = 16, kNewTokens = 32;
// What has to be there for each weight: itself, its gradient and AdamW's two moments, in float32.
constexpr int64_t kCopies = 4;

model::ModelConfig config_of(int64_t vocab) {
  return model::llama_config({.vocab_size = vocab,
                              .hidden_size = kHidden,
                              .intermediate_size = 704,
                              .num_layers = 2,
                              .num_heads = 4,
                              .num_kv_heads = 2,
                              .head_dim = 64,
                              .max_position = 512,
                              .tie_embeddings = true});
}

// The bytes that a process of its own had at most for a learner and two of its steps.
int64_t peak_of(int64_t vocab, int64_t batch, int threads) {
  const auto run = run_captured(
      {.command = {own_executable().string(), "bench", "memory", "--here", "--vocab", std::to_string(vocab),
                   "--batch", std::to_string(batch), "--threads", std::to_string(threads)}},
      {.wall_ms = kLongestMs});
  require(run.status && run.status->ok(), "bench memory: a vocabulary of ", vocab, ": ",
          run.status      ? describe(*run.status)
          : run.timed_out ? "not done after " + std::to_string(kLongestMs / 60'000) + " minutes"
                          : "it wrote too much",
          run.errors.empty() ? "" : ": ", run.errors);
  return json_member<int64_t>(parse_json(run.output, "bench memory"), "peak_bytes", "bench memory");
}

}  // namespace

void measure_memory_here(int64_t vocab, int64_t batch, int threads) {
  set_work_threads(threads);
  const int64_t before = resident_bytes();
  model::Network network(config_of(vocab), at::kCPU);
  network.init(1);
  const auto completions = make_completions(
      network,
      {.batch = batch, .group = batch, .prompt = kPrompt, .shortest = kNewTokens, .longest = kNewTokens});
  transport::SoloCollective alone;
  optim::Optimizer optimizer(network, alone, {}, /*total_steps=*/2);
  learner::PolicyLearner learner(network, nullptr, optimizer, {});
  for (int64_t step = 0; step < 2; ++step) learner.step(completions.batch, step);
  std::cout << Json{{"vocab", vocab}, {"peak_bytes", peak_resident_bytes() - before}}.dump() << std::endl;
}

void bench_memory(const std::vector<int64_t>& vocabularies, int64_t batch, int threads, Report& report) {
  Json peaks = Json::object();
  std::vector<int64_t> bytes;
  for (const int64_t vocab : vocabularies) {
    bytes.push_back(peak_of(vocab, batch, threads));
    peaks[std::to_string(vocab)] = bytes.back();
  }
  Json line = {
      {"row", "memory"}, {"hidden", kHidden}, {"batch", batch}, {"peak_bytes", peaks}, {"threads", threads}};
  std::ostringstream text;
  text << "memory       a learner's step of width " << kHidden << ": peaks by vocabulary " << peaks.dump()
       << " bytes";
  // Between the last two: a small vocabulary has fewer logits at once than a large one, whose are as many as
  // those of the largest.
  const size_t last = vocabularies.size() - 1, before = last > 0 ? last - 1 : last;
  if (const int64_t more = vocabularies[last] - vocabularies[before]; more > 0) {
    const double copies = static_cast<double>(bytes[last] - bytes[before]) /
                          static_cast<double>(more * kHidden * static_cast<int64_t>(sizeof(float)));
    line["copies_of_the_weights"] = copies;
    line["needed_copies"] = kCopies;
    text << "; at last it grows by " << copies
         << " copies of the vocabulary's weights, where weights, gradients and moments "
         << "are " << kCopies;
  }
  report.add(line, text.str());
}

}  // namespace sluice::app
