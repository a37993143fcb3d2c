#include "model/internal/kernel_decoder.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "model/kernels/transformer.h"
#include "model/large_tensor.h"

namespace sluice::model {
namespace {

class KernelDecoder : public Decoder {
 public:
  KernelDecoder(const Network& network, const DecoderOptions& options)
      : network_(network), step_(options.threads) {
    const auto& attention = network.config().attention;
    pool_.num_pages = options.num_pages;
    pool_.page_size = cpu::page_numbers(attention.num_kv_heads, attention.head_dim);
    static_assert(kPageTokens == cpu::kPageTokens);
    // Left as it is: the system gives memory to the pages that are written, and what no token was written to
    // is not looked at.
    numbers_ = large_tensor(network.config().num_layers() * pool_.num_pages * pool_.page_size, at::kFloat);
    pool_.numbers = numbers_.mutable_data_ptr<float>();
  }

  void step(std::span<const DecodeSequence> sequences, const Sink& sink) override {
    sequences_.clear();
    int64_t longest = 0;
    for (size_t i = 0; i < sequences.size(); ++i) {
      const auto& sequence = sequences[i];
      check(sequence, i);
      longest = std::max(longest, sequence.cached + std::ssize(sequence.tokens));
      sequences_.push_back({.tokens = sequence.tokens.data(),
                            .count = std::ssize(sequence.tokens),
                            .cached = sequence.cached,
                            .pages = sequence.pages.data(),
                            .num_logits = sequence.num_logits});
    }
    if (sequences.empty()) return;
    const auto* transformer = network_.transformer(longest - 1);
    require(transformer != nullptr, "decoder: the network is no longer frozen");
    step_.run(*transformer, pool_, sequences_, sink);
  }

  void copy_page(int32_t from, int32_t to) override {
    pool_.copy_page(network_.config().num_layers(), from, to);
  }

  bool rows_are_independent() const override { return true; }

 private:
  void check(const DecodeSequence& sequence, size_t index) const {
    const int64_t vocab = network_.config().vocab_size, count = std::ssize(sequence.tokens);
    require(
        count > 0 && sequence.cached >= 0 && std::ssize(sequence.pages) >= pages_for(sequence.cached + count),
        "decoder: sequence ", index, " goes on by ", count, " tokens behind ", sequence.cached, " with ",
        sequence.pages.size(), " pages");
    require(sequence.num_logits >= 0 && sequence.num_logits <= count, "decoder: sequence ", index, " wants ",
            sequence.num_logits, " rows of logits of ", count, " tokens");
    const auto is_token = [&](int32_t token) { return token >= 0 && token < vocab; };
    const auto wrong = std::ranges::find_if_not(sequence.tokens, is_token);
    if (wrong != sequence.tokens.end())
      fail("decoder: a token must be in 0 .. ", vocab - 1, ", saw ", *wrong);
    const auto is_page = [&](int32_t page) { return page >= 0 && page < pool_.num_pages; };
    require(std::ranges::all_of(sequence.pages, is_page), "decoder: sequence ", index,
            " has a page beyond the ", pool_.num_pages, " there are");
  }

  const Network& network_;
  cpu::TransformerStep step_;
  at::Tensor numbers_;
  cpu::PagePool pool_;
  std::vector<cpu::StepSequence> sequences_;
};

}  // namespace

std::unique_ptr<Decoder> make_kernel_decoder(const Network& network, const DecoderOptions& options) {
  return std::make_unique<KernelDecoder>(network, options);
}

}  // namespace sluice::model
