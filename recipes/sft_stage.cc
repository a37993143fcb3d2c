#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "optim/optimizer.h"
#include "recipes/internal/held_out.h"
#include "recipes/internal/stage_context.h"
#include "recipes/internal/step_watch.h"
#include "recipes/internal/teacher.h"
#include "sft/distill_trainer.h"
#include "sft/example_stream.h"
#include "sft/sft_trainer.h"
#include "text/chat_template.h"
#include "transport/collective.h"

namespace sluice::recipes {

int run_sft_stage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                  const StopRequest& stop) {
  const StageStart start = find_start(run, recipe, stage);
  const auto tokenizer = text::load_tokenizer(start.checkpoint.model());
  const auto network = load_trained(run, recipe, stage, start);
  transport::SoloCollective collective;
  optim::Optimizer optimizer(*network, collective, stage.optim, stage.steps);
  if (start.resumed) load_optimizer(start.checkpoint, optimizer);
  const int64_t first_step = start.first_step();  // of the run, before this stage
  StageMonitor monitor(run, recipe, stage, start.checkpoint.state.step);
  StepWatch watch(monitor, optimizer, stage, start);

  const auto chat = text::load_chat_template(start.checkpoint.model());
  auto datasets = text::open_mixture(stage.data);
  int64_t left_out = 0;
  for (const auto& dataset : datasets) left_out += dataset.rows->num_left_out();
  monitor.say_left_out(left_out);
  sft::ExampleStream examples(std::move(datasets), *tokenizer, chat ? &*chat : nullptr,
                              stage.batch.tokenize_options(), stage_seed(recipe, stage.name));
  sft::SftTrainer trainer(
      *network, optimizer,
      {.micro_batch_tokens = stage.batch.micro_batch_tokens,
       .loss = stage.batch.loss,
       .router_aux_loss = recipe.model.router_aux_loss,
       .noise = {.alpha = stage.batch.neftune_alpha, .seed = stage_seed(recipe, stage.name)}});
  const HeldOutLoss held_out(stage, *tokenizer, chat ? &*chat : nullptr);
  std::optional<HeldOutFigures> measured;
  const auto teacher = internal::load_teacher(recipe, stage, *tokenizer, network->config().max_position);
  std::optional<sft::DistillTrainer> distiller;
  if (teacher) {
    distiller.emplace(*network, *teacher, optimizer, stage.batch.micro_batch_tokens, stage.distill->options);
  }
  const int64_t per_step = stage.batch.examples_per_step;
  bool said_dropped = false;

  const SteadyClock clock;
  const Millis began = clock.now_ms();
  const auto seconds = [&] { return start.seconds + static_cast<double>(clock.now_ms() - began) / 1000.0; };
  double num_tokens = start.num_tokens;
  const auto save = [&](int64_t done) {
    write_checkpoint(run.checkpoints(), start.state_after(stage, done, seconds(), num_tokens),
                     {.network = *network,
                      .tokenizer = *tokenizer,
                      .optimizer = &optimizer,
                      .memory = {{"guard", watch.state()}}},
                     stage.checkpoint.keep_last);
  };

  for (int64_t s = start.stage_step; s < stage.steps; ++s) {
    const Millis step_began = clock.now_ms();
    const auto batch = examples.take(s * per_step, per_step);
    const int64_t dropped = per_step - std::ssize(batch);
    if (dropped > 0 && !std::exchange(said_dropped, true)) {
      monitor.say(stage.name + ": examples with nothing to learn are left out, " + std::to_string(dropped) +
                  " of step " + std::to_string(s + 1) + "; num_dropped counts those of each step");
    }
    auto metrics = distiller ? distiller->step(batch) : trainer.step(batch, s);
    watch.after(s + 1, metrics);
    metrics["num_dropped"] = static_cast<double>(dropped);
    metrics["step_time"] = static_cast<double>(clock.now_ms() - step_began) / 1000.0;
    metrics["tokens_per_s"] = metrics["num_tokens"] / std::max(metrics["step_time"], 1e-3);
    metrics["num_tokens"] = num_tokens += metrics["num_tokens"];
    if (held_out.is_due(s + 1) && (measured = held_out.measure(*network, stop))) {
      monitor.say(stage.name + ": " + describe(*measured));
      metrics.insert(measured->begin(), measured->end());
    }
    monitor.report(first_step + s + 1, s + 1, metrics);
    monitor.show_state(first_step + s + 1, s + 1);
    const int signal = stop();
    if (s + 1 == stage.steps || (s + 1) % stage.checkpoint.every == 0 || signal != 0) save(s + 1);
    if (signal != 0 && s + 1 < stage.steps) return signal;
  }
  Json result = {{"name", stage.name}, {"use", stage.use}, {"steps", stage.steps}, {"seconds", seconds()}};
  if (held_out.is_due(stage.steps)) {
    // It is not there when the process was asked to stop meanwhile, and when this is all that was left to do.
    if (!measured) measured = held_out.measure(*network, stop);
    if (!measured) return stop();
    result.update(Json(*measured));
  }
  run.write_stage_result(stage.name, result);
  return 0;
}

}  // namespace sluice::recipes
