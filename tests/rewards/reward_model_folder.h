// A directory with a reward model of random weights over the letters of "abcdefgh=".
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <memory>
#include <string>

#include "model/model_directory.h"
#include "model/scalar_head.h"
#include "tests/rewards/reward_cases.h"
#include "text/tokenizer.h"

namespace sluice::rewards {

class RewardModelFolder {
 public:
  RewardModelFolder() {
    const auto tokenizer = text::train_character_tokenizer("abcdefgh=");
    const model::LlamaShape shape{.vocab_size = tokenizer->vocab_size(),
                                  .hidden_size = 32,
                                  .intermediate_size = 24,
                                  .num_layers = 2,
                                  .num_heads = 2,
                                  .num_kv_heads = 1,
                                  .head_dim = 16,
                                  .max_position = 12};
    model::Network policy(model::llama_config(shape), at::kCPU);
    policy.init(7);
    policy.flat().mul_(3);
    network_ = model::with_scalar_head(policy, 5);
    save();
    tokenizer->save(path());
    end_ = *tokenizer->eos_id();
    tokenizer_ = text::load_tokenizer(path());
  }

  std::filesystem::path path() const { return folder_ / "model"; }
  std::filesystem::path operator/(const std::string& name) const { return path() / name; }
  // The weights as they are now.
  void save() const { model::save_model(path(), *network_, {.dtype = at::kFloat}); }
  model::Network& network() { return *network_; }

  RewardSpec spec(Json options = Json::object()) const {
    RewardSpec out = rewards::spec("reward_model");
    out.options = std::move(options);
    out.options["path"] = path().string();
    return out;
  }
  // What the network itself says at the end of the whole sequence.
  double expected(const std::string& prompt, const std::string& completion) const {
    auto tokens = tokenizer_->encode(prompt);
    for (const auto token : tokenizer_->encode(completion)) tokens.push_back(token);
    tokens.push_back(end_);
    model::PackedBatchBuilder builder;
    builder.add(tokens);
    return network_->scores(builder.build(at::kCPU), at::tensor({std::ssize(tokens) - 1}, at::kLong))
        .item<double>();
  }

 private:
  TempFolder folder_;
  std::unique_ptr<model::Network> network_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  text::TokenId end_ = 0;
};

}  // namespace sluice::rewards
