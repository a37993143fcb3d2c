#include <future>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/trace.h"
#include "optim/optimizer.h"
#include "recipes/internal/held_out.h"
#include "recipes/internal/stage_context.h"
#include "recipes/internal/stage_monitor.h"
#include "recipes/internal/stage_ranks.h"
#include "recipes/internal/step_loop.h"
#include "recipes/internal/teacher.h"
#include "sft/distill_trainer.h"
#include "sft/example_stream.h"
#include "sft/sft_trainer.h"
#include "text/chat_template.h"
#include "transport/collective.h"

namespace sluice::recipes {
namespace {

// A supervised stage under way.
class SftStage {
 public:
  SftStage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage, const StopRequest& stop,
           transport::Collective& ranks)
      : run_(run),
        stage_(stage),
        stop_(stop),
        ranks_(ranks),
        start_(find_start(run, recipe, stage, ranks)),
        tokenizer_(text::load_tokenizer(start_.checkpoint.model())),
        chat_(text::load_chat_template(start_.checkpoint.model())),
        network_(load_trained(run, recipe, stage, start_)),
        optimizer_(*network_, ranks, stage.optim, stage.steps),
        monitor_(run, recipe, stage, start_.checkpoint.state.step, ranks.rank()),
        examples_(open_examples(recipe)),
        held_out_(stage, *tokenizer_, the_chat()),
        teacher_(internal::load_teacher(recipe, stage, *tokenizer_, network_->config().max_position)) {
    if (start_.resumed) load_optimizer(start_.checkpoint, optimizer_);
    if (teacher_) {
      distiller_.emplace(*network_, *teacher_, optimizer_, stage.batch.micro_batch_tokens,
                         stage.distill->options);
    } else {
      trainer_.emplace(*network_, optimizer_,
                       sft::SftOptions{.micro_batch_tokens = stage.batch.micro_batch_tokens,
                                       .loss = stage.batch.loss,
                                       .router_aux_loss = recipe.model.router_aux_loss,
                                       .noise = {.alpha = stage.batch.neftune_alpha,
                                                 .seed = stage_seed(recipe, stage.name)}});
    }
    check_in_step(optimizer_, "that stage " + stage.name + " begins with");
  }

  int run() {
    StepLoop loop(run_, stage_, start_, monitor_, optimizer_, stop_);
    const int signal =
        loop.run({.learn = [this](int64_t step, auto& clock) { return learn(step, clock); },
                  .measure = [this](int64_t /*done*/) { return measure(); },
                  .is_due = [this](int64_t done) { return held_out_.is_due(done); },
                  .contents =
                      [this] {
                        return CheckpointContents{
                            .network = *network_, .tokenizer = *tokenizer_, .optimizer = &optimizer_};
                      }});
    if (signal != 0) return signal;
    const auto whole = optimizer_.whole_weights();
    if (ranks_.rank() != 0) return 0;
    Json result = {{"name", stage_.name}, {"use", stage_.use}, {"steps", stage_.steps}};
    if (held_out_.is_due(stage_.steps)) {
      // It is not there when the process was asked to stop meanwhile, and when this is all that was left to
      // do.
      if (!measured_) measured_ = held_out_.measure(*network_, stop_);
      if (!measured_) return stop_();
      result.update(Json(*measured_));
    }
    result["seconds"] = loop.seconds();
    run_.write_stage_result(stage_.name, result);
    return 0;
  }

 private:
  const text::ChatTemplate* the_chat() const { return chat_ ? &*chat_ : nullptr; }

  sft::ExampleStream open_examples(const Recipe& recipe) {
    auto datasets = text::open_mixture(stage_.data);
    int64_t left_out = 0;
    for (const auto& dataset : datasets) left_out += dataset.rows->num_left_out();
    monitor_.say_left_out(left_out);
    return {std::move(datasets), *tokenizer_, the_chat(), stage_.batch.tokenize_options(),
            stage_seed(recipe, stage_.name)};
  }

  std::vector<sft::Example> read(int64_t step) {
    const int64_t per_step = stage_.batch.examples_per_step;
    return examples_.take(step * per_step, per_step);
  }

  // Those of the next step are read and tokenised while this one is learned from. Steps come one by one.
  std::vector<sft::Example> take_examples(int64_t step) {
    auto examples = next_.valid() ? next_.get() : read(step);
    if (step + 1 < stage_.steps) {
      next_ = std::async(std::launch::async, [this, step, began_us = trace_clock_us()] {
        auto next = read(step + 1);
        traced("read ahead", began_us);
        return next;
      });
    }
    return examples;
  }

  learner::StepMetrics learn(int64_t step, internal::StepClock& clock) {
    const auto batch = take_examples(step);
    clock.ends("batch");
    const int64_t dropped = stage_.batch.examples_per_step - std::ssize(batch);
    if (dropped > 0 && !std::exchange(said_dropped_, true)) {
      monitor_.say(stage_.name + ": examples with nothing to learn are left out, " + std::to_string(dropped) +
                   " of step " + std::to_string(step + 1) + "; num_dropped counts those of each step");
    }
    auto metrics = distiller_ ? distiller_->step(batch) : trainer_->step(batch, step);
    metrics["num_dropped"] = static_cast<double>(dropped);
    return metrics;
  }

  learner::StepMetrics measure() {
    measured_ = held_out_.measure(*network_, stop_);
    if (!measured_) return {};
    monitor_.say(stage_.name + ": " + describe(*measured_));
    return *measured_;
  }

  const RunDirectory& run_;
  const StageSpec& stage_;
  const StopRequest& stop_;
  transport::Collective& ranks_;
  const StageStart start_;
  const std::unique_ptr<text::Tokenizer> tokenizer_;
  const std::optional<text::ChatTemplate> chat_;
  const std::unique_ptr<model::Network> network_;
  optim::Optimizer optimizer_;
  StageMonitor monitor_;
  sft::ExampleStream examples_;
  const HeldOutLoss held_out_;
  const std::unique_ptr<model::Network> teacher_;  // null but where there is one to distil
  std::optional<sft::SftTrainer> trainer_;         // one of these
  std::optional<sft::DistillTrainer> distiller_;
  std::optional<HeldOutFigures> measured_;  // the newest
  bool said_dropped_ = false;
  std::future<std::vector<sft::Example>> next_;  // uses what stands above
};

}  // namespace

int run_sft_stage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                  const StopRequest& stop, transport::Collective& ranks) {
  return SftStage(run, recipe, stage, stop, ranks).run();
}

}  // namespace sluice::recipes
