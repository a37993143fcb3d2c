#include <ATen/core/Tensor.h>

#include <chrono>
#include <deque>
#include <memory>
#include <span>

#include "app/bench/generation.h"
#include "app/bench/rows.h"
#include "model/decoder.h"

namespace sluice::app {
namespace {

// Sequences that go through the decoder alone: no token is drawn and no log-prob recorded, as in the loop
// that llama.cpp times. The requests outlive it.
class BareDecoding {
 public:
  BareDecoding(const model::Network& network, const Requests& requests, int threads) {
    for (const auto& request : requests) add_group(request);
    decoder_ = model::make_decoder(network, {.num_pages = num_pages_, .threads = threads});
    decoder_->step(leaders_, sink_);
    if (!tails_.empty()) decoder_->step(tails_, sink_);
  }

  // Tokens a second of `steps` steps behind the prompts.
  double rate(int64_t steps) {
    auto sequences = sequences_;
    const auto began = std::chrono::steady_clock::now();
    for (int64_t step = 0; step < steps; ++step) {
      decoder_->step(sequences, sink_);
      for (auto& sequence : sequences) ++sequence.cached;
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    return static_cast<double>(std::ssize(sequences) * steps) / seconds;
  }

 private:
  // The first sample computes the prompt; the others share its pages that are full.
  void add_group(const actors::GenerationRequest& request) {
    const std::span<const int32_t> prompt = request.prompt;
    const int64_t length = std::ssize(prompt) + request.sampling.max_new_tokens;
    const int64_t shared = std::ssize(prompt) / model::kPageTokens;
    std::span<const int32_t> leader;
    for (int64_t i = 0; i < request.num_samples; ++i) {
      auto& pages = pages_.emplace_back(leader.begin(), leader.begin() + (i > 0 ? shared : 0));
      while (std::ssize(pages) < model::pages_for(length))
        pages.push_back(static_cast<int32_t>(num_pages_++));
      model::DecodeSequence sequence{.tokens = prompt, .pages = pages, .final_length = length};
      if (i == 0) {
        leader = pages;
        leaders_.push_back(sequence);
      } else if (std::ssize(prompt) > shared * model::kPageTokens) {
        sequence.cached = shared * model::kPageTokens;
        sequence.tokens = prompt.subspan(static_cast<size_t>(sequence.cached));
        tails_.push_back(sequence);
      }
      sequence.cached = std::ssize(prompt);
      sequence.tokens = prompt.first(1);
      sequences_.push_back(sequence);
    }
  }

  int64_t num_pages_ = 0;
  std::deque<std::vector<int32_t>> pages_;  // of each sequence; they stay where they are
  std::vector<model::DecodeSequence> leaders_, tails_, sequences_;
  const model::Decoder::Sink sink_ = [](size_t, int64_t, std::span<float>) {};
  std::unique_ptr<model::Decoder> decoder_;
};

// One batch of one model, in a dtype.
struct DecodeRow {
  std::string dtype;
  std::unique_ptr<model::Network> network;
  Measured sampled;
  std::vector<double> bare;

  void measure(const Requests& requests, int64_t slots, const BenchOptions& options) {
    auto engine = make_bench_engine(*network, slots, requests, options.threads);
    sampled.add([&] {
      return decode_rates(requests, tokens_after_first(requests), options.reps,
                          [&](const Requests& some) { return seconds_for(engine, some); });
    });
    BareDecoding decoding(*network, requests, options.threads);
    for (int64_t i = 0; i < options.reps; ++i) bare.push_back(decoding.rate(options.new_tokens - 1));
  }
};

void decode_batch(const Bench& bench, const std::string& model, int64_t batch, std::vector<DecodeRow>& rows) {
  const auto& options = bench.options;
  const int64_t group = group_of(options, batch), prompt = options.prompt;
  const auto requests =
      make_requests(rows.front().network->config(), prompt, group,
                    std::vector<int64_t>(static_cast<size_t>(batch / group), options.new_tokens));
  const auto peers = beside_peers(
      bench, {.model = model, .batch = batch, .prompt = prompt, .new_tokens = options.new_tokens}, [&] {
        for (auto& row : rows) row.measure(requests, batch, options);
      });
  for (auto& row : rows) {
    const double context = static_cast<double>(prompt) + static_cast<double>(options.new_tokens) / 2;
    bench.report.add(
        {.row = "decode",
         .model = model,
         .dtype = row.dtype,
         .batch = batch,
         .tokens_per_s = summarise(row.sampled.rates),
         .limit = decode_limit(Work(*row.network, row.dtype), bench.ceilings, batch, context),
         .peers = peer_rates(peers, row.dtype, [](const PeerResult& peer) { return peer.decode_tok_s; }),
         .others = row.sampled.others,
         .more = {{"group", group},
                  {"prompt", prompt},
                  {"new", options.new_tokens},
                  {"threads", options.threads},
                  {"tokens_per_s_without_sampling", summarise(row.bare).median}}});
    row.sampled = {};
    row.bare.clear();
  }
}

}  // namespace

void bench_decode(const Bench& bench) {
  for (const auto& model : bench.options.models) {
    std::vector<DecodeRow> rows;
    for (const auto& dtype : bench.options.dtypes) {
      rows.push_back({.dtype = dtype, .network = make_bench_network(model, dtype)});
    }
    for (const int64_t batch : bench.options.batches) decode_batch(bench, model, batch, rows);
  }
}

}  // namespace sluice::app
