// What a policy stage tells of a step: its rollouts, and where all groups are.
#pragma once

#include <filesystem>

#include "learner/policy_learner.h"
#include "learner/rollout_server.h"
#include "learner/training_batch.h"
#include "monitor/tensorboard_sink.h"

namespace sluice::recipes {

// One line for each group of a step: what was asked, what was answered, what it was worth. The chosen tokens
// of the first completions, up to kRecordedTokens of a step, are there with their log-ratios.
inline constexpr int64_t kRecordedTokens = 16384;
void write_rollouts(const std::filesystem::path& file, const learner::TrainingBatch& batch,
                    const learner::TokenLogRatios& log_ratios);

// The distributions of rewards, lengths and advantages, and the first completions.
monitor::StepDetail step_detail(const learner::TrainingBatch& batch);

// queue/* and law/*.
void add_queue_metrics(learner::StepMetrics& metrics, const learner::RolloutStatus& status);

}  // namespace sluice::recipes
