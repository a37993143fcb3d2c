#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "include/sluice_reward.h"
#include "rewards/plugins/protocol.h"
#include "rewards/plugins/worker_side.h"
#include "rewards/reward_worker.h"

namespace sluice::rewards {
namespace {

constexpr size_t kProblemBytes = 500;

// The fields of version 1; a library that was built with a later header has more behind them.
constexpr size_t kTableBytes = sizeof(sluice_reward);

const sluice_reward& load(const std::filesystem::path& library) {
  // A name without a slash would be looked up among the system's libraries.
  void* handle = ::dlopen(std::filesystem::absolute(library).c_str(), RTLD_NOW | RTLD_LOCAL);
  require<DataError>(handle != nullptr, "cannot load it: ", handle == nullptr ? ::dlerror() : "");
  void* symbol = ::dlsym(handle, "sluice_reward_v1");
  require<DataError>(symbol != nullptr, library.string(),
                     " has no function sluice_reward_v1 (include/sluice_reward.h)");
  const sluice_reward* table = reinterpret_cast<decltype(&sluice_reward_v1)>(symbol)();
  require<DataError>(table != nullptr && table->size >= kTableBytes && table->score != nullptr,
                     library.string(), ": sluice_reward_v1 gave ",
                     table == nullptr            ? "nothing"
                     : table->size < kTableBytes ? "a table of another size"
                                                 : "a table without score");
  return *table;
}

sluice_text view(const std::string& text) { return {text.data(), text.size()}; }

// A sample and what its texts point into.
class Sample {
 public:
  explicit Sample(const Json& given)
      : prompt_(given.at("prompt").get<std::string>()),
        completion_(given.at("completion").get<std::string>()),
        messages_(given.contains("messages") ? given.at("messages").dump() : ""),
        tokens_(given.at("tokens").get<std::vector<int32_t>>()) {
    for (const auto& [name, value] : given.at("columns").items()) {
      names_.push_back(name);
      values_.push_back(plugins::json_text(value));
    }
    for (const auto& name : names_) name_views_.push_back(view(name));
    for (const auto& value : values_) value_views_.push_back(view(value));
    sample_ = {.size = sizeof(sluice_sample),
               .prompt = view(prompt_),
               .completion = view(completion_),
               .messages = view(messages_),
               .num_columns = names_.size(),
               .column_names = name_views_.data(),
               .column_values = value_views_.data(),
               .num_tokens = tokens_.size(),
               .tokens = tokens_.data(),
               .truncated = given.at("truncated").get<bool>() ? 1 : 0};
  }
  Sample(const Sample&) = delete;

  const sluice_sample* get() const { return &sample_; }

 private:
  const std::string prompt_, completion_, messages_;
  const std::vector<int32_t> tokens_;
  std::vector<std::string> names_, values_;
  std::vector<sluice_text> name_views_, value_views_;
  sluice_sample sample_{};
};

Json answer(const sluice_reward& reward, void* state, const Json& request) {
  std::vector<std::unique_ptr<Sample>> samples;
  std::vector<const sluice_sample*> views;
  for (const auto& sample : request.at("samples")) {
    samples.push_back(std::make_unique<Sample>(sample));
    views.push_back(samples.back()->get());
  }
  std::vector<double> scores(samples.size(), std::numeric_limits<double>::quiet_NaN());
  char problem[kProblemBytes] = "";
  const int status = reward.score(state, views.data(), views.size(), scores.data(), problem, sizeof problem);
  if (status != 0) {
    problem[sizeof problem - 1] = '\0';
    return {
        {"error", problem[0] == '\0' ? "score() returned " + std::to_string(status) : std::string(problem)}};
  }
  Json list = Json::array();
  Json reasons = Json::array();
  for (const double score : scores) {
    list.push_back(std::isfinite(score) ? Json(score) : Json());
    reasons.push_back(std::isinf(score) ? Json("bad output: the library gave an infinite score") : Json());
  }
  return {{"scores", std::move(list)}, {"reasons", std::move(reasons)}};
}

}  // namespace

int run_library_worker(const std::filesystem::path& library) {
  plugins::WorkerSide side;
  const sluice_reward* reward = nullptr;
  try {
    reward = &load(library);
  } catch (const DataError& error) {
    side.say_why_not(error.what());
    return static_cast<int>(ExitCode::Data);
  }
  void* state = reward->open == nullptr ? nullptr : reward->open();
  side.say_hello(reward->name == nullptr ? "" : reward->name);
  side.answer_all([&](const Json& request) { return answer(*reward, state, request); });
  if (reward->close != nullptr) reward->close(state);
  return 0;
}

}  // namespace sluice::rewards
