#include "model/decoder.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <vector>

#include "base/error.h"
#include "model/internal/kernel_decoder.h"

namespace sluice::model {
namespace {

// Network::forward() over a cache: for devices and shapes without kernels of their own.
class NetworkDecoder : public Decoder {
 public:
  NetworkDecoder(const Network& network, const DecoderOptions& options)
      : network_(network),
        cache_({.layout = network.cache_layout(), .num_blocks = options.num_pages, .block_size = kPageTokens},
               network.device()) {}

  void step(std::span<const DecodeSequence> sequences, const Sink& sink) override {
    if (sequences.empty()) return;
    const c10::InferenceMode inference;
    PackedBatchBuilder builder;
    CacheView view{.cache = &cache_, .block_table = {}, .cached = {}};
    struct Wanted {
      size_t sequence;
      int64_t index;
    };
    std::vector<Wanted> wanted;
    std::vector<int64_t> wanted_rows;
    for (size_t s = 0; s < sequences.size(); ++s) {
      const auto& sequence = sequences[s];
      builder.add(sequence.tokens, kNoPrefix, sequence.cached, sequence.final_length);
      view.block_table.emplace_back(sequence.pages.begin(), sequence.pages.end());
      view.cached.push_back(sequence.cached);
      for (int64_t i = 0; i < sequence.num_logits; ++i) {
        wanted.push_back({s, i});
        wanted_rows.push_back(builder.num_rows() - sequence.num_logits + i);
      }
    }
    const auto hidden = network_.forward(builder.build(network_.device()), &view);
    if (wanted.empty()) return;
    const auto chosen = hidden.index_select(0, at::tensor(wanted_rows, at::kLong).to(network_.device()));
    const auto logits = network_.scaled_logits(chosen, /*temperature=*/1.0).cpu().contiguous();
    const auto vocab = static_cast<size_t>(logits.size(1));
    for (size_t i = 0; i < wanted.size(); ++i)
      sink(wanted[i].sequence, wanted[i].index, {logits.mutable_data_ptr<float>() + i * vocab, vocab});
  }

  void copy_page(int32_t from, int32_t to) override {
    const c10::InferenceMode inference;
    cache_.copy_block(from, to);
  }

  bool rows_are_independent() const override { return false; }

 private:
  const Network& network_;
  KvCache cache_;
};

}  // namespace

std::unique_ptr<Decoder> make_decoder(const Network& network, const DecoderOptions& options) {
  require(options.num_pages > 0, "decoder: a cache of ", options.num_pages, " pages");
  if (network.transformer(/*max_position=*/0) != nullptr) return make_kernel_decoder(network, options);
  return std::make_unique<NetworkDecoder>(network, options);
}

}  // namespace sluice::model
