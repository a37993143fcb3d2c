#include "recipes/internal/held_out.h"

#include <algorithm>
#include <sstream>
#include <utility>
#include <vector>

#include "base/error.h"
#include "sft/held_out.h"
#include "sft/tokenize.h"

namespace sluice::recipes {
namespace {

constexpr int64_t kAtOnce = 256;  // examples, between looks at signals

}  // namespace

std::string describe(const HeldOutFigures& figures) {
  std::ostringstream out;
  out << "eval_loss " << figures.at("eval_loss") << " nats a token, "
      << figures.at("eval_mean_token_accuracy") << " of " << figures.at("eval_num_tokens")
      << " tokens the likeliest (held_out)";
  return out.str();
}

HeldOutLoss::HeldOutLoss(const StageSpec& stage, const text::Tokenizer& tokenizer,
                         const text::ChatTemplate* chat)
    : stage_(stage),
      tokenizer_(tokenizer),
      chat_(chat),
      rows_(stage.evaluation.every > 0 ? text::open_examples(stage.data, text::Split::Test) : nullptr) {}

bool HeldOutLoss::is_due(int64_t done) const {
  return rows_ != nullptr && (done % stage_.evaluation.every == 0 || done == stage_.steps);
}

std::optional<HeldOutFigures> HeldOutLoss::measure(const model::Network& network,
                                                   const StopRequest& stop) const {
  const int64_t limit = stage_.evaluation.prompts;
  const int64_t size = limit == 0 ? rows_->size() : std::min(limit, rows_->size());
  sft::HeldOutSums sums;
  for (int64_t first = 0; first < size; first += kAtOnce) {
    if (stop() != 0) return std::nullopt;
    std::vector<sft::Example> examples;
    for (int64_t i = first; i < std::min(first + kAtOnce, size); ++i) {
      auto example = sft::tokenize(rows_->at(i), tokenizer_, chat_, stage_.batch.tokenize_options());
      if (sft::num_targets(example) > 0) examples.push_back(std::move(example));
    }
    sums.add(sft::held_out_sums(network, examples, stage_.batch.micro_batch_tokens));
  }
  require<DataError>(sums.targets > 0, "stage ", stage_.name, ": no held-out example of ", size,
                     " has a token to say");
  return HeldOutFigures{{"eval_loss", sums.loss()},
                        {"eval_mean_token_accuracy", sums.accuracy()},
                        {"eval_num_tokens", static_cast<double>(sums.targets)}};
}

}  // namespace sluice::recipes
