#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <iostream>
#include <memory>

#include "app/command.h"
#include "app/input_lines.h"
#include "app/model_arguments.h"
#include "base/error.h"
#include "base/json.h"
#include "model/model_directory.h"
#include "model/pack_bins.h"

namespace sluice::app {
namespace {

constexpr int64_t kRows = 4096;  // of one forward; a longer sequence goes alone

struct ScoreArguments {
  ModelArguments model;
  std::string file;
  bool ids = false, json = false;
};

struct Scored {
  std::string where;
  std::vector<int32_t> ids;
  std::vector<float> logprobs;  // of ids[1:]
  double score = 0;             // a reward model's, in place of those
};

std::vector<Scored> read_scored(const ScoreArguments& arguments, const LoadedModel& model) {
  std::vector<Scored> all;
  std::unique_ptr<text::Tokenizer> tokenizer;  // loaded for the first line of text
  for (auto& line : read_input_lines(arguments.file, "text", arguments.ids)) {
    if (line.ids.empty()) {
      if (tokenizer == nullptr) tokenizer = model.need_tokenizer();
      const auto ids = tokenizer->with_specials(tokenizer->encode(line.text));
      line.ids.assign(ids.begin(), ids.end());
    }
    all.push_back({.where = line.where, .ids = checked_ids(line, model.network->config())});
  }
  return all;
}

// The log-probs of the sequences of one bin, in one forward.
void score_bin(const model::Network& network, const std::vector<int64_t>& bin, std::vector<Scored>& all) {
  model::PackedBatchBuilder builder;
  std::vector<int64_t> rows, tokens;
  for (const int64_t index : bin) {
    const auto& ids = all[static_cast<size_t>(index)].ids;
    const int64_t sequence = builder.add(ids);
    for (int64_t i = 1; i < std::ssize(ids); ++i) {
      rows.push_back(builder.row_of(sequence, i - 1));
      tokens.push_back(ids[static_cast<size_t>(i)]);
    }
  }
  if (rows.empty()) return;  // nothing but single tokens
  const auto logprobs = network
                            .logprobs(builder.build(network.device()),
                                      {at::tensor(rows, at::kLong), at::tensor(tokens, at::kLong)},
                                      /*temperature=*/1.0)
                            .logprobs.contiguous();
  const float* next = logprobs.const_data_ptr<float>();
  for (const int64_t index : bin) {
    auto& one = all[static_cast<size_t>(index)];
    one.logprobs.assign(next, next + one.ids.size() - 1);
    next += one.logprobs.size();
    check_logprobs(one.where, one.logprobs);
  }
}

// What a reward model says at the end of each sequence of one bin, in one forward.
void judge_bin(const model::Network& network, const std::vector<int64_t>& bin, std::vector<Scored>& all) {
  model::PackedBatchBuilder builder;
  std::vector<int64_t> rows;
  for (const int64_t index : bin) {
    builder.add(all[static_cast<size_t>(index)].ids);
    rows.push_back(builder.num_rows() - 1);
  }
  const auto scores = network.scores(builder.build(network.device()), at::tensor(rows, at::kLong));
  for (size_t i = 0; i < bin.size(); ++i) {
    auto& one = all[static_cast<size_t>(bin[i])];
    one.score = scores[static_cast<int64_t>(i)].item<double>();
    require(std::isfinite(one.score), one.where, ": the score is ", one.score);
  }
}

void print_scores(const std::vector<Scored>& all, bool json) {
  for (const auto& one : all) {
    if (json) {
      std::cout << Json{{"ids", one.ids}, {"score", one.score}}.dump() << '\n';
    } else {
      std::cout << one.where << ": " << one.ids.size() << " tokens, score " << one.score << '\n';
    }
  }
}

void print_sums(const std::string& where, double sum, int64_t tokens) {
  std::cout << where << ": " << tokens << " tokens, sum " << sum;
  if (tokens > 0) {
    const double mean = sum / static_cast<double>(tokens);
    std::cout << ", mean " << mean << ", perplexity " << std::exp(-mean);
  }
  std::cout << '\n';
}

void print(const std::vector<Scored>& all, bool json) {
  double sum = 0;
  int64_t tokens = 0;
  for (const auto& one : all) {
    if (json) {
      std::cout << Json{{"ids", one.ids}, {"logprobs", one.logprobs}}.dump() << '\n';
      continue;
    }
    double line_sum = 0;
    for (const float logprob : one.logprobs) line_sum += logprob;
    print_sums(one.where, line_sum, std::ssize(one.logprobs));
    sum += line_sum;
    tokens += std::ssize(one.logprobs);
  }
  if (!json) print_sums("all", sum, tokens);
}

int score(const ScoreArguments& arguments) {
  const bool judges = model::read_model_config(find_model(arguments.model.model)).scalar_head;
  const auto model = arguments.model.load(judges);
  auto all = read_scored(arguments, model);
  std::vector<int64_t> lengths;
  for (const auto& one : all) lengths.push_back(std::ssize(one.ids));
  const at::NoGradGuard no_grad;
  for (const auto& bin : model::pack_best_fit(lengths, kRows)) {
    judges ? judge_bin(*model.network, bin, all) : score_bin(*model.network, bin, all);
  }
  judges ? print_scores(all, arguments.json) : print(all, arguments.json);
  return 0;
}

}  // namespace

Command add_score(CLI::App& app) {
  auto arguments = std::make_shared<ScoreArguments>();
  add_model_arguments(app, arguments->model);
  app.add_option("--file", arguments->file, "JSONL of {\"text\": TEXT} or {\"ids\": [...]}")->required();
  app.add_flag("--ids", arguments->ids, "Lines are token ids, whatever text stands beside them");
  add_load_dtype(app, arguments->model);
  app.add_flag(
      "--json", arguments->json,
      "A JSON line for each input: ids, and the logprobs of all but the first; of a reward model the score "
      "of the last");
  return [arguments] { return score(*arguments); };
}

}  // namespace sluice::app
