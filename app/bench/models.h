// The networks that `sluice bench` runs, and what sets the physical limit of a token of theirs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "app/bench/ceilings.h"
#include "model/network.h"

namespace sluice::app {

// Llamas with tied embeddings, of the sizes that the kit of the peers has: tiny, S and M.
inline const std::vector<std::string> kBenchModels = {"tiny", "S", "M"};
model::ModelConfig bench_config(const std::string& size);
// What the weights of products may be stored as, and the bytes of one.
inline const std::vector<std::string> kBenchDtypes = {"float32", "bfloat16", "int8"};
int bytes_of_weight(const std::string& dtype);
// Random weights of such a type, frozen.
std::unique_ptr<model::Network> make_bench_network(const std::string& size, const std::string& dtype);

// Counted from the shape alone.
struct Work {
  Work(const model::Network& network, const std::string& dtype);

  double block_parameters;  // every token passes these
  double head_parameters;   // tokens that are predicted pass these
  double attention_flop;    // of a query for each position it sees
  double kv_bytes;          // of a token, in float32
  double weight_bytes;

  // Of a forward of completions that share a prompt, which is read once; a token sees half of its own
  // sequence in the mean. Tokens of the prompt are not predicted.
  double scored_flop(int64_t prompt, const std::vector<int64_t>& completions) const;
};

struct Limit {
  double tokens_per_s;
  const char* bound;  // "flop" or "bytes": which of the two takes longer
};

// Of decoding `batch` tokens in a step, each seeing `context` positions and none sharing a prompt. The
// ceiling of the arithmetic is that of float32 for bfloat16 weights too: they are widened.
Limit decode_limit(const Work& work, const Ceilings& ceilings, int64_t batch, double context);
// Of prompts of `length` tokens, of which the last one is asked for the next.
Limit prefill_limit(const Work& work, const Ceilings& ceilings, int64_t prompts, int64_t length);
// Of so many tokens that take so much arithmetic, and far less to read. With products of bfloat16 it is that
// of the faster of two ways: the processor's dot products, or multiply-adds of what is widened first.
Limit flop_limit(double tokens, double flop, const Ceilings& ceilings, const std::string& dtype);

}  // namespace sluice::app
