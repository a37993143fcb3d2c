#include <ATen/Parallel.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/shared_work.h"
#include "rewards/internal/scorers.h"
#include "rewards/plugins/worker_side.h"
#include "rewards/reward_worker.h"

namespace sluice::rewards {
namespace {

text::Row row_of(const Json& sample) {
  text::Row row;
  row.prompt = sample.at("prompt").get<std::string>();
  row.messages = sample.value("messages", Json());
  row.columns = sample.at("columns");
  return row;
}

Json answer(RewardFunction& reward, const Json& request) {
  const Json& samples = request.at("samples");
  std::vector<text::Row> rows;
  for (const auto& sample : samples) rows.push_back(row_of(sample));
  std::vector<RewardRequest> group(rows.size());
  for (size_t i = 0; i < group.size(); ++i) {
    group[i].row = &rows[i];
    group[i].completion = samples[i].at("completion").get<std::string>();
  }
  Json scores = Json::array(), reasons = Json::array(), parts = Json::array();
  for (const auto& outcome : reward.score(group)) {
    const bool finite = outcome.score && std::isfinite(*outcome.score);  // JSON has no other numbers
    scores.push_back(finite ? Json(*outcome.score) : Json());
    reasons.push_back(finite          ? Json()
                      : outcome.score ? Json("bad output: the model gave " + std::to_string(*outcome.score))
                                      : Json(outcome.unscored_reason));
    parts.push_back(outcome.parts);
  }
  return {{"scores", scores}, {"reasons", reasons}, {"parts", parts}};
}

}  // namespace

int run_model_worker(const std::string& options) {
  at::set_num_threads(1);
  set_work_threads(1);
  plugins::WorkerSide side;
  std::unique_ptr<RewardFunction> reward;
  try {
    RewardSpec spec;
    spec.use = "reward_model";
    spec.options = Json::parse(options);
    reward = internal::make_loaded_reward_model(spec);
  } catch (const Error& error) {
    side.say_why_not(error.what());
    return static_cast<int>(ExitCode::Data);
  }
  side.say_hello(reward->name());
  side.answer_all([&](const Json& request) -> Json {
    try {
      return answer(*reward, request);
    } catch (const Error& error) {
      return {{"error", error.what()}};
    }
  });
  return 0;
}

}  // namespace sluice::rewards
