#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "base/epoch_order.h"
#include "base/error.h"
#include "model/model_directory.h"
#include "model/scalar_head.h"
#include "optim/optimizer.h"
#include "recipes/internal/reward_pairs.h"
#include "recipes/internal/stage_context.h"
#include "recipes/internal/stage_monitor.h"
#include "recipes/internal/stage_ranks.h"
#include "recipes/internal/step_loop.h"
#include "sft/reward_trainer.h"
#include "text/chat_template.h"
#include "transport/collective.h"

namespace sluice::recipes {
namespace {

// As the checkpoint has it, or a fresh head on the policy.
std::unique_ptr<model::Network> load_reward_model(const Recipe& recipe, const StageSpec& stage,
                                                  const StageStart& start) {
  auto network = start.resumed ? model::load_model(start.checkpoint.reward_model(), device_of(recipe),
                                                   {.scalar_head = true})
                               : model::with_scalar_head(*load_network(start.checkpoint.model(), recipe),
                                                         stage_seed(recipe, stage.name));
  network->round_products(recipe.model.rounding);
  network->checkpoint_blocks(stage.batch.gradient_checkpointing);
  return network;
}

// A reward model stage under way. What its checkpoints have in hf/ is the policy it began with.
class RewardModelStage {
 public:
  RewardModelStage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                   const StopRequest& stop, transport::Collective& ranks)
      : run_(run),
        stage_(stage),
        stop_(stop),
        ranks_(ranks),
        start_(find_start(run, recipe, stage, ranks)),
        policy_(find_origin(run, stage, start_).model()),
        tokenizer_(text::load_tokenizer(policy_)),
        chat_(text::load_chat_template(policy_)),
        training_(read(stage.data.path)),
        network_(load_reward_model(recipe, stage, start_)),
        optimizer_(*network_, ranks, stage.optim, stage.steps),
        trainer_(*network_, optimizer_,
                 {.micro_batch_tokens = stage.batch.micro_batch_tokens, .loss = stage.reward_loss}),
        monitor_(run, recipe, stage, start_.checkpoint.state.step, ranks.rank()),
        order_(std::ssize(training_.pairs), stage_seed(recipe, stage.name)) {
    if (start_.resumed) load_optimizer(start_.checkpoint, optimizer_);
    if (training_.dropped > 0) {
      monitor_.say(stage.name + ": " + std::to_string(training_.dropped) +
                   " pairs that batch.max_length has no room for are left out");
    }
    check_in_step(optimizer_, "that stage " + stage.name + " begins with");
  }

  int run() {
    StepLoop loop(run_, stage_, start_, monitor_, optimizer_, stop_);
    const int signal = loop.run({.learn = [this](int64_t step, auto& clock) { return learn(step, clock); },
                                 .measure = nullptr,
                                 .contents = [this] { return contents(); }});
    if (signal != 0) return signal;
    const auto whole = optimizer_.whole_weights();
    return ranks_.rank() != 0 ? 0 : finish(loop);
  }

 private:
  internal::PairsFound read(const std::filesystem::path& file) const {
    return internal::read_pairs(stage_, file, *tokenizer_, chat_ ? &*chat_ : nullptr);
  }

  std::vector<sft::ComparedPair> batch_of(int64_t step) {
    const int64_t per_step = stage_.batch.examples_per_step;
    std::vector<sft::ComparedPair> batch;
    for (int64_t ordinal = step * per_step; ordinal < (step + 1) * per_step; ++ordinal) {
      batch.push_back(training_.pairs[static_cast<size_t>(order_.at(ordinal))]);
    }
    return batch;
  }

  learner::StepMetrics learn(int64_t step, internal::StepClock& clock) {
    const auto batch = batch_of(step);
    clock.ends("batch");
    return trainer_.step(batch);
  }

  CheckpointContents contents() const {
    return {.network = *network_, .tokenizer = *tokenizer_, .optimizer = &optimizer_, .policy = policy_};
  }

  // The share of held-out pairs whose chosen completion scores higher, as a figure of `evals` in
  // summary.json.
  Json pair_accuracy() const {
    const auto pairs = read(stage_.data.test_path).pairs;
    const auto sums = sft::measure_pairs(*network_, pairs, stage_.batch.micro_batch_tokens);
    const auto n = static_cast<double>(sums.pairs);
    const double share = sums.correct / n;
    return {{"stage", stage_.name}, {"split", "held_out"}, {"metric", "pair_accuracy"},
            {"n", sums.pairs},      {"value", share},      {"stderr", std::sqrt(share * (1 - share) / n)}};
  }

  int finish(const StepLoop& loop) {
    const auto directory = loop.checkpoint().reward_model();
    Json result = {{"name", stage_.name},
                   {"use", stage_.use},
                   {"steps", stage_.steps},
                   {"weights_sha256", network_->weights_hash()},
                   {"reward_model", std::filesystem::relative(directory, run_.root()).string()}};
    if (!stage_.data.test_path.empty()) {
      const Json eval = pair_accuracy();
      monitor_.say(stage_.name + ": pair accuracy " + eval.at("value").dump() + " of " + eval.at("n").dump() +
                   " held-out pairs");
      result["evals"] = Json::array({eval});
    }
    monitor_.say(stage_.name + ": reward model " + directory.string());
    result["seconds"] = loop.seconds();
    run_.write_stage_result(stage_.name, result);
    return 0;
  }

  const RunDirectory& run_;
  const StageSpec& stage_;
  const StopRequest& stop_;
  transport::Collective& ranks_;
  const StageStart start_;
  const std::filesystem::path policy_;  // its model directory
  const std::unique_ptr<text::Tokenizer> tokenizer_;
  const std::optional<text::ChatTemplate> chat_;
  const internal::PairsFound training_;
  const std::unique_ptr<model::Network> network_;
  optim::Optimizer optimizer_;
  sft::RewardTrainer trainer_;
  StageMonitor monitor_;
  EpochOrder order_;  // of the pairs
};

}  // namespace

int run_reward_model_stage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                           const StopRequest& stop, transport::Collective& ranks) {
  return RewardModelStage(run, recipe, stage, stop, ranks).run();
}

}  // namespace sluice::recipes
