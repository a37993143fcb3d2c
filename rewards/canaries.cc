#include "rewards/canaries.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/json_lines.h"
#include "base/nearest.h"

namespace sluice::rewards {
namespace {

std::map<std::string, double> read_scores(const Json& line, const std::string& where,
                                          const std::vector<std::string>& scorers) {
  std::map<std::string, double> scores;
  const Json known = json_member_or<Json>(line, "scores", Json::object(), where);
  require<DataError>(known.is_object(), where, ": \"scores\" is an object of numbers by scorer, saw ",
                     known.type_name());
  for (const auto& [name, score] : known.items()) {
    require<DataError>(std::ranges::count(scorers, name) > 0, where, ": the recipe has no reward \"", name,
                       "\"", did_you_mean(name, scorers));
    require<DataError>(score.is_number(), where, ": the score of ", name, " is a number, saw ",
                       score.type_name());
    scores[name] = score.get<double>();
  }
  return scores;
}

}  // namespace

Canaries::Canaries(const std::filesystem::path& file, int64_t every, const std::vector<std::string>& scorers)
    : every_(static_cast<uint64_t>(every)) {
  for_each_json_line(file, [&](int64_t number, Json line) {
    Canary canary;
    canary.row.file = file.string();
    canary.row.line = number;
    const std::string where = canary.row.where();
    canary.completion = json_member<std::string>(line, "completion", where);
    canary.scores = read_scores(line, where, scorers);
    if (line.contains("prompt") && line.at("prompt").is_array()) {
      canary.row.messages = line.at("prompt");
    } else {
      canary.row.prompt = json_member_or<std::string>(line, "prompt", "", where);
    }
    canary.row.columns = std::move(line);
    rows_.push_back(std::move(canary));
  });
  require<DataError>(!rows_.empty(), file.string(), ": no line in it");
}

std::vector<std::optional<double>> Canaries::errors(const RewardMix& mix) {
  std::vector<std::optional<double>> errors(mix.names().size());
  for (auto& canary : rows_) {
    const RewardRequest request{.row = &canary.row, .completion = canary.completion, .afresh = true};
    const auto outcomes = mix.score({&request, 1}).front();
    for (size_t k = 0; k < outcomes.size(); ++k) {
      if (!outcomes[k].score) continue;
      const double known = canary.scores.try_emplace(mix.names()[k], *outcomes[k].score).first->second;
      errors[k] = std::max(errors[k].value_or(0.0), std::abs(*outcomes[k].score - known));
    }
  }
  return errors;
}

}  // namespace sluice::rewards
