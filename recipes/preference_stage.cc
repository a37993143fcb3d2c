#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/epoch_order.h"
#include "base/error.h"
#include "base/philox.h"
#include "optim/optimizer.h"
#include "recipes/internal/stage_context.h"
#include "recipes/internal/stage_monitor.h"
#include "recipes/internal/stage_ranks.h"
#include "recipes/internal/stage_reference.h"
#include "recipes/internal/step_loop.h"
#include "reference/logprob_cache.h"
#include "text/chat_template.h"
#include "transport/collective.h"

namespace sluice::recipes {
namespace {

using learner::PreferenceExample;
using Examples = std::vector<PreferenceExample>;

constexpr int64_t kExamplesAtOnce = 256;  // of the reference, between looks at signals

// Tokenised, in the order of the first epoch, as far as the stage gets; then those held out. `row` is the
// place here.
struct ExamplesFound {
  Examples examples;
  int64_t training = 0;  // of them, the first
  int64_t dropped = 0;   // rows of which a completion was cut off entirely
};

ExamplesFound read_examples(const StageSpec& stage, const Checkpoint& checkpoint,
                            const text::Tokenizer& tokenizer, uint64_t seed) {
  const auto chat = text::load_chat_template(checkpoint.model());
  const auto rows = text::read_preferences(stage.data.path, stage.preference.columns);
  Examples all;
  for (const auto& row : rows) {
    auto example = learner::tokenize_preference(row, tokenizer, chat ? &*chat : nullptr,
                                                {.append_eos = stage.batch.append_eos,
                                                 .max_length = stage.batch.max_length,
                                                 .truncation = stage.preference.truncation});
    if (example) all.push_back(*std::move(example));
  }
  const int64_t held_out = stage.preference.held_out;
  require<DataError>(std::ssize(all) > held_out, stage.data.path.string(), ": ", all.size(),
                     " rows are left whole by batch.max_length = ", stage.batch.max_length,
                     held_out == 0 ? "" : ", no more than preference.held_out");
  const auto order = shuffled_indices(std::ssize(all), seed, /*epoch=*/0);
  const int64_t drawn = stage.steps * stage.batch.examples_per_step;
  ExamplesFound found{.examples = {},
                      .training = std::min(drawn, std::ssize(all) - held_out),
                      .dropped = std::ssize(rows) - std::ssize(all)};
  for (int64_t place = 0; place < std::ssize(all); ++place) {
    if (place >= found.training && place < std::ssize(all) - held_out) continue;
    found.examples.push_back(std::move(all[static_cast<size_t>(order[static_cast<size_t>(place)])]));
    found.examples.back().row = std::ssize(found.examples) - 1;
  }
  return found;
}

// A preference stage under way.
class PreferenceStage {
 public:
  PreferenceStage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                  const StopRequest& stop, transport::Collective& ranks)
      : run_(run),
        recipe_(recipe),
        stage_(stage),
        spec_(stage.preference),
        stop_(stop),
        ranks_(ranks),
        start_(find_start(run, recipe, stage, ranks)),
        seed_(stage_seed(recipe, stage.name)),
        tokenizer_(text::load_tokenizer(start_.checkpoint.model())),
        found_(read_examples(stage, start_.checkpoint, *tokenizer_, seed_)),
        network_(load_trained(run, recipe, stage, start_)),
        optimizer_(*network_, ranks, stage.optim, stage.steps),
        monitor_(run, recipe, stage, start_.checkpoint.state.step, ranks.rank()),
        order_(found_.training, seed_) {
    if (start_.resumed) load_optimizer(start_.checkpoint, optimizer_);
    if (found_.dropped > 0) {
      monitor_.say(stage.name + ": " + std::to_string(found_.dropped) +
                   " rows of which batch.max_length leaves no completion are left out");
    }
    check_in_step(optimizer_, "that stage " + stage.name + " begins with");
  }

  int run() {
    if (spec_.needs_reference() && !prepare_reference()) return told_to_stop(ranks_, stop_);
    make_learner();
    StepLoop loop(run_, stage_, start_, monitor_, optimizer_, stop_);
    const int signal = loop.run({.learn = [this](int64_t step, auto& clock) { return learn(step, clock); },
                                 .measure = [this](int64_t /*done*/) { return measure(); },
                                 .is_due = [this](int64_t done) { return is_due(done); },
                                 .contents = [this] { return contents(); }});
    if (signal != 0) return signal;
    const auto whole = optimizer_.whole_weights();
    if (ranks_.rank() != 0) return 0;
    if (reference_) reference_->policy().check_unmoved();
    Json result = {{"name", stage_.name},
                   {"use", stage_.use},
                   {"steps", stage_.steps},
                   {"started_from", start_.started_from}};
    result.update(Json(measured_.empty() ? held_out_figures() : measured_));
    result["seconds"] = loop.seconds();
    run_.write_stage_result(stage_.name, result);
    return 0;
  }

 private:
  int64_t num_examples() const { return std::ssize(found_.examples); }
  // Of a judged completion the reference has to say more: what it thinks of it
  // under other prompts.
  bool is_asked_again() const { return spec_.judged() && spec_.kto.has_z0; }

  // False when the process was asked to stop before it was done.
  bool prepare_reference() {
    reference_ = std::make_unique<StageReference>(run_, recipe_, stage_, start_, spec_.mix, *network_);
    if (reference_->moves()) return true;  // what it says is not what it will say
    const bool filled = fill_table();
    if (filled && !is_asked_again()) reference_.reset();
    return filled;
  }

  bool fill_table() {
    const int64_t completions = std::ssize(found_.examples.front().completions);
    const auto file = run_.root() / "reference" / (stage_.name + ".logprobs");
    const reference::LogprobKey key{
        .weights = reference_->policy().hash(),
        .tokenizer = tokenizer_->hash(),
        .data = learner::hash_of(found_.examples),
        .how = "ld_alpha " + std::to_string(spec_.pairs.ld_alpha) + ", products " +
               std::to_string(static_cast<int>(recipe_.model.rounding)) + ", " + recipe_.device};
    std::string damage;
    const bool leads = ranks_.rank() == 0;
    const auto found =
        leads ? reference::load_logprobs(file, key, num_examples() * completions, damage) : std::nullopt;
    if (!damage.empty()) monitor_.say(stage_.name + ": computing it anew, as " + damage);
    table_ = at::zeros({num_examples(), completions}, at::kDouble);
    if (found) std::ranges::copy(*found, table_.mutable_data_ptr<double>());
    if (transport::gather(ranks_, {found ? 1.0 : 0.0}).front().front() != 0.0) {
      ranks_.all_reduce_sum(table_);  // with zeros: exact
      return true;
    }
    if (!compute_table()) return false;
    const auto* first = table_.const_data_ptr<double>();
    if (leads) reference::save_logprobs(file, key, {first, first + table_.numel()});
    return true;
  }

  // Each rank some examples, then the next ones.
  bool compute_table() {
    const Millis began = clock_.now_ms();
    const int64_t round = ranks_.size() * kExamplesAtOnce;
    for (int64_t next = 0; next < num_examples(); next += round) {
      if (told_to_stop(ranks_, stop_) != 0) return false;
      const int64_t first = next + ranks_.rank() * kExamplesAtOnce;
      const int64_t count = std::min(kExamplesAtOnce, num_examples() - first);
      if (count <= 0) continue;
      table_.narrow(0, first, count)
          .copy_(compute(
              std::span(found_.examples).subspan(static_cast<size_t>(first), static_cast<size_t>(count))));
    }
    ranks_.all_reduce_sum(table_);  // with zeros: exact
    monitor_.say(stage_.name + ": reference log-probs of " + std::to_string(num_examples()) +
                 " examples in " + std::to_string((clock_.now_ms() - began) / 1000) + " s");
    return true;
  }

  at::Tensor compute(std::span<const PreferenceExample> examples) const {
    return learner::reference_logps(
        reference_->policy(), examples, network_->device(),
        {.micro_batch_tokens = stage_.batch.micro_batch_tokens, .ld_alpha = spec_.pairs.ld_alpha});
  }

  at::Tensor look_up(std::span<const PreferenceExample> examples) const {
    std::vector<int64_t> rows;
    for (const auto& example : examples) rows.push_back(example.row);
    const bool known = table_.defined() && std::ranges::all_of(rows, [](int64_t row) { return row >= 0; });
    return known ? table_.index_select(0, at::tensor(rows, at::kLong)) : compute(examples);
  }

  void make_learner() {
    const auto reference = [this](std::span<const PreferenceExample> examples) { return look_up(examples); };
    if (spec_.judged()) {
      auto options = spec_.kto;
      options.max_length = stage_.batch.max_length;
      options.micro_batch_tokens = stage_.batch.micro_batch_tokens;
      options.router_aux_loss = recipe_.model.router_aux_loss;
      kto_.emplace(*network_, optimizer_, reference, options);
    } else {
      auto options = spec_.pairs;
      options.micro_batch_tokens = stage_.batch.micro_batch_tokens;
      options.router_aux_loss = recipe_.model.router_aux_loss;
      pairs_.emplace(*network_, optimizer_, reference, options);
    }
  }

  learner::StepMetrics learn(int64_t step, internal::StepClock& clock) {
    const auto batch = batch_of(step);
    clock.ends("batch");
    auto metrics = kto_ ? kto_->step(batch) : pairs_->step(batch);
    if (reference_) reference_->follow(*network_, step + 1);
    return metrics;
  }

  // eval_rewards/margins and the like; none where nothing is held out.
  learner::StepMetrics held_out_figures() const {
    learner::StepMetrics figures;
    if (spec_.held_out == 0) return figures;
    const auto held_out = std::span(found_.examples).subspan(static_cast<size_t>(found_.training));
    for (const auto& [name, value] : pairs_->measure(held_out)) figures["eval_" + name] = value;
    return figures;
  }

  bool is_due(int64_t done) const {
    const int64_t every = stage_.evaluation.every;
    return spec_.held_out > 0 && (done == stage_.steps || (every > 0 && done % every == 0));
  }

  learner::StepMetrics measure() {
    measured_ = held_out_figures();
    if (!measured_.empty()) {
      monitor_.say(stage_.name + ": " + std::to_string(spec_.held_out) + " held-out pairs, margin " +
                   std::to_string(measured_.at("eval_rewards/margins")) + ", the chosen ahead in " +
                   std::to_string(measured_.at("eval_rewards/accuracies")) + " of them");
    }
    return measured_;
  }

  // Epoch by epoch, each but the first in an order of its own.
  Examples batch_of(int64_t step) {
    const int64_t per_step = stage_.batch.examples_per_step, n = found_.training;
    Examples batch;
    for (int64_t ordinal = step * per_step; ordinal < (step + 1) * per_step; ++ordinal) {
      const int64_t place = ordinal < n ? ordinal : order_.at(ordinal);  // they lie in the first epoch's
      batch.push_back(found_.examples[static_cast<size_t>(place)]);
    }
    return batch;
  }

  CheckpointContents contents() const {
    return {.network = *network_,
            .tokenizer = *tokenizer_,
            .optimizer = &optimizer_,
            .reference = reference_ ? reference_->state() : at::Tensor()};
  }

  const RunDirectory& run_;
  const Recipe& recipe_;
  const StageSpec& stage_;
  const PreferenceSpec& spec_;
  const StopRequest& stop_;
  transport::Collective& ranks_;
  const SteadyClock clock_;
  const StageStart start_;
  const uint64_t seed_;
  const std::unique_ptr<text::Tokenizer> tokenizer_;
  const ExamplesFound found_;
  const std::unique_ptr<model::Network> network_;
  optim::Optimizer optimizer_;
  StageMonitor monitor_;
  std::unique_ptr<StageReference> reference_;  // null when nothing more is asked of it
  at::Tensor table_;                           // [examples, completions] float64: reference log-probs,
                                               // undefined where they change
  EpochOrder order_;                           // of the examples, from the second epoch on
  std::optional<learner::PreferenceLearner> pairs_;
  std::optional<learner::KtoLearner> kto_;
  learner::StepMetrics measured_;  // of what is held out, after the last step
};

}  // namespace

int run_preference_stage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                         const StopRequest& stop, transport::Collective& ranks) {
  return PreferenceStage(run, recipe, stage, stop, ranks).run();
}

}  // namespace sluice::recipes
