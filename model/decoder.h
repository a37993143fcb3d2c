// Decoding: tokens of sequences in, logits out; what was seen of them is kept in pages.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "model/network.h"

namespace sluice::model {

// Tokens that a page keeps, in every layer.
inline constexpr int64_t kPageTokens = 16;
inline int64_t pages_for(int64_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

// Tokens that go on behind `cached` ones of their sequence.
struct DecodeSequence {
  std::span<const int32_t> tokens;  // at least one
  int64_t cached = 0;
  std::span<const int32_t> pages;  // of the sequence, pages_for(cached + tokens) at least
  int64_t final_length = 0;        // what it may have in the end (see PackedBatch)
  int64_t num_logits = 1;          // of its last tokens
};

struct DecoderOptions {
  int64_t num_pages = 0;
  int threads = 1;  // of the kernels on the CPU
};

// Not safe from several threads at once. Sequences may share the pages before the ones they write to.
class Decoder {
 public:
  virtual ~Decoder() = default;

  // Called for the i-th of a sequence's tokens that want logits, each once, from any of the decoder's
  // threads: [vocab] before temperature, which may be written to and are gone afterwards.
  using Sink = std::function<void(size_t sequence, int64_t i, std::span<float> logits)>;
  // Throws Error for a token outside the vocabulary, a position outside the tables, or too few pages.
  virtual void step(std::span<const DecodeSequence> sequences, const Sink& sink) = 0;
  virtual void copy_page(int32_t from, int32_t to) = 0;
  // Whether a sequence gets the same bits whatever else is decoded with it.
  virtual bool rows_are_independent() const = 0;
};

// By kernels that allocate nothing for a token where the network is frozen, on the CPU, and of a shape that
// they serve (Llama, Mistral, Qwen and Gemma are); by Network::forward() else. The network outlives it; its
// weights may be changed between steps.
std::unique_ptr<Decoder> make_decoder(const Network& network, const DecoderOptions& options);

}  // namespace sluice::model
