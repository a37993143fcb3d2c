#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <chrono>
#include <iostream>
#include <memory>

#include "actors/engine.h"
#include "app/bench_tokenizer.h"
#include "app/command.h"
#include "base/json.h"
#include "base/philox.h"
#include "model/network.h"

namespace sluice::app {
namespace {

constexpr int64_t kPromptTokens = 64;

double seconds_of(const std::function<void()>& work) {
  const auto began = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

// A network of the size of the shipped recipes.
std::unique_ptr<model::Network> make_network() {
  model::LlamaShape config;
  config.vocab_size = 512;
  config.hidden_size = 128;
  config.intermediate_size = 344;
  config.num_layers = 4;
  config.num_heads = config.num_kv_heads = 4;
  config.head_dim = 32;
  config.max_position = 256;
  auto network = std::make_unique<model::Network>(model::llama_config(config), at::kCPU);
  network->init(1);
  return network;
}

std::vector<int32_t> make_prompt(uint64_t index) {
  std::vector<int32_t> prompt(kPromptTokens);
  for (size_t i = 0; i < prompt.size(); ++i) {
    prompt[i] = static_cast<int32_t>(random_bits(1, RandomUse::Data, index, i) % 512);
  }
  return prompt;
}

double cached_seconds(const model::Network& network, int64_t prompts, int64_t tokens) {
  actors::Engine engine(network, {}, {.max_rows = prompts, .one_group_at_a_time = false});
  for (int64_t i = 0; i < prompts; ++i) {
    engine.submit({.id = static_cast<uint64_t>(i),
                   .prompt = make_prompt(static_cast<uint64_t>(i)),
                   .sampling = {.temperature = 0, .max_new_tokens = tokens}});
  }
  return seconds_of([&] {
    while (!engine.idle()) engine.step(0);
  });
}

// Every token by a forward over everything before it.
double uncached_seconds(const model::Network& network, int64_t prompts, int64_t tokens) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<int32_t>> texts;
  for (int64_t i = 0; i < prompts; ++i) texts.push_back(make_prompt(static_cast<uint64_t>(i)));
  return seconds_of([&] {
    for (int64_t t = 0; t < tokens; ++t) {
      model::PackedBatchBuilder builder;
      std::vector<int64_t> last;
      for (const auto& text : texts) {
        last.push_back(builder.row_of(builder.add(text), static_cast<int64_t>(text.size()) - 1));
      }
      const auto hidden =
          network.forward(builder.build(at::kCPU)).index_select(0, at::tensor(last, at::kLong));
      const std::vector<actors::DrawKey> keys(texts.size());
      const auto sampled = actors::sample_tokens(hidden, network.head(), keys, {.temperature = 0});
      for (size_t i = 0; i < texts.size(); ++i) texts[i].push_back(sampled[i].token);
    }
  });
}

int bench_decode(int64_t prompts, int64_t tokens) {
  at::set_num_threads(1);
  const auto network = make_network();
  cached_seconds(*network, prompts, 2);  // warm
  const double cached = cached_seconds(*network, prompts, tokens);
  const double uncached = uncached_seconds(*network, prompts, tokens);
  const Json row = {{"row", "decode_cached_over_uncached"},
                    {"peer", "sluice"},
                    {"prompts", prompts},
                    {"tokens", tokens},
                    {"threads", 1},
                    {"cached_s", cached},
                    {"uncached_s", uncached},
                    {"decode_tok_s", static_cast<double>(prompts * tokens) / cached},
                    {"ratio", uncached / cached}};
  std::cout << row.dump() << '\n';
  return 0;
}

}  // namespace

Command add_bench(CLI::App& app) {
  struct Arguments {
    int64_t prompts = 128;
    int64_t tokens = 20;
  };
  auto arguments = std::make_shared<Arguments>();
  app.require_subcommand(0, 1);
  auto* decode = app.add_subcommand("decode", "Decoding with a KV cache against decoding without one");
  decode->add_option("--prompts", arguments->prompts, "Prompts decoded together")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  decode->add_option("--tokens", arguments->tokens, "Tokens of each")
      ->capture_default_str()
      ->check(CLI::Range(1, 128));
  auto* tokenizer = app.add_subcommand("tokenizer", "Encoding and decoding of a text, on one thread");
  return [arguments, tokenizer, run_tokenizer = add_bench_tokenizer(*tokenizer)] {
    return tokenizer->parsed() ? run_tokenizer() : bench_decode(arguments->prompts, arguments->tokens);
  };
}

}  // namespace sluice::app
