// http: a server of rewards, asked by a POST of JSON for each group.
//
//   {"query": [prompt + completion, ...], "prompts": [...], "labels": [...],              as OpenRLHF asks
//    "data_source": [...], "solution_str": [...], "ground_truth": [...], "extra_info": [...]}    in verl's
//    words
//
// and it answers {"rewards": [...]} or {"scores": [...]}, a number or null for each.
#include <string>

#include "rewards/internal/scorers.h"
#include "rewards/plugin.h"
#include "rewards/plugins/entry_options.h"
#include "rewards/plugins/http_client.h"
#include "rewards/plugins/protocol.h"

namespace sluice::rewards::internal {
namespace {

using plugins::max_reply_bytes;
using plugins::outcomes_of;

class Http final : public RewardFunction {
 public:
  explicit Http(const RewardSpec& spec)
      : name_(spec.name.empty() ? plugin_name("http", spec.options.at("http")) : spec.name),
        column_(option<std::string>(spec, "column", "answer")),
        client_(
            plugins::parse_url(spec, "http", "http://127.0.0.1:9000/score"), /*bearer=*/"",
            plugins::bounded(spec.options, speaker(spec), "timeout_ms", 30'000, 1, plugins::kMaxTimeoutMs),
            plugins::bounded(spec.options, speaker(spec), "retries", 1, 0, plugins::kMaxRetries),
            "scores a group with " + name_) {}

  const std::string& name() const override { return name_; }
  bool takes_whole_groups() const override { return true; }
  void interrupt() override { client_.interrupt(); }

  std::vector<RewardOutcome> score(std::span<const RewardRequest> group) override {
    const auto reply = client_.post("", body_of(group), max_reply_bytes(group.size()));
    if (reply.problem.empty()) return read(reply.body, group.size());
    return std::vector(group.size(), RewardOutcome::unscored(reply.problem));
  }

 private:
  std::string body_of(std::span<const RewardRequest> group) const {
    Json body = Json::object();
    for (const char* key : {"query", "prompts", "labels", "data_source", "solution_str", "ground_truth",
                            "extra_info", "truncated"})
      body[key] = Json::array();
    for (const auto& request : group) {
      const text::Row& row = *request.row;
      const Json& columns = row.columns;
      const Json truth = columns.value(column_, Json());
      body["query"].push_back(row.prompt + request.completion);
      body["prompts"].push_back(row.prompt);
      body["labels"].push_back(truth);
      body["data_source"].push_back(columns.value("data_source", Json("")));
      body["solution_str"].push_back(request.completion);
      body["ground_truth"].push_back(truth);
      body["extra_info"].push_back(columns.value("extra_info", columns));
      body["truncated"].push_back(request.truncated);
    }
    return body.dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  static std::vector<RewardOutcome> read(const std::string& reply, size_t num_samples) {
    try {
      const Json json =
          parse_json(reply, "reply", {.max_bytes = max_reply_bytes(num_samples), .max_depth = 8});
      require<DataError>(json.is_object(), "reply: an object is wanted, saw ", json.type_name());
      return outcomes_of(json, json.contains("rewards") ? "rewards" : "scores", num_samples);
    } catch (const DataError& error) {
      return std::vector(num_samples, RewardOutcome::unscored(std::string("bad output: ") + error.what()));
    }
  }

  const std::string name_;
  const std::string column_;
  plugins::HttpClient client_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_http(const RewardSpec& spec, const RewardResources&) {
  require<UsageError>(spec.options.contains("http"), speaker(spec), ": give the server as `http`");
  return std::make_unique<Http>(spec);
}

}  // namespace sluice::rewards::internal
