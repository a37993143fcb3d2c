// json_schema: 1 when the completion's JSON keeps to a schema (JSON Schema, draft 2020-12).
//
// The schema is text in the recipe (`schema`) or a file (`path`). The JSON is what stands in the last
// <answer>, else in the last ``` fence, else all of the completion; two members of one name are no JSON here.
// `format_score` (default 0) is for JSON that does not keep to the schema. Values are checked in at most a
// million steps; what needs more is unscored.
//
//   with schema = '{"type": "object", "required": ["age"], "properties": {"age": {"type": "integer",
//   "minimum": 0}}}'
//   {"age": 7}                              1
//   Here:\n```json\n{"age": 7}\n```         1              in a fence
//   <answer>{"age": 7, "x": null}</answer>  1              other members are allowed unless
//   additionalProperties says no
//   {"age": "7"}, {"age": -1}, {}, [7]      format_score
//   {"age": 7} is it, {"age": 7, }          0              not JSON
#include "rewards/internal/json_schema.h"

#include "base/files.h"
#include "rewards/internal/final_answer.h"
#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {
namespace {

constexpr JsonLimits kLimits{.max_bytes = 1u << 20, .max_depth = 64};

Json schema_option(const RewardSpec& spec) {
  const auto text = option<std::string>(spec, "schema", ""), path = option<std::string>(spec, "path", "");
  require<UsageError>(text.empty() != path.empty(), speaker(spec),
                      ": give `schema`, its text, or `path`, its file, and not both");
  if (!path.empty()) return read_json(path, kLimits);
  try {
    return parse_json(text, speaker(spec) + ": `schema`", kLimits);
  } catch (const DataError& error) {
    throw UsageError(error.what());
  }
}

// What stands in the last ``` fence, without the word behind its opening.
std::optional<std::string_view> last_fenced(std::string_view text) {
  constexpr std::string_view kFence = "```";
  const size_t close = text.rfind(kFence);
  const size_t open =
      close == std::string_view::npos || close == 0 ? std::string_view::npos : text.rfind(kFence, close - 1);
  if (open == std::string_view::npos || open + kFence.size() > close) return std::nullopt;
  const std::string_view inside = text.substr(open + kFence.size(), close - open - kFence.size());
  const size_t line = inside.find('\n');
  return line == std::string_view::npos ? inside : inside.substr(line + 1);
}

class JsonSchemaReward final : public CompletionReward {
 public:
  explicit JsonSchemaReward(const RewardSpec& spec)
      : CompletionReward(spec),
        schema_(schema_option(spec), speaker(spec)),
        format_score_(option<double>(spec, "format_score", 0.0)) {
    require<UsageError>(format_score_ >= 0.0 && format_score_ < 1.0, speaker(spec),
                        ": format_score is from 0 to below 1, what a right answer gives; saw ",
                        format_score_);
  }

 private:
  RewardOutcome score_one(const RewardRequest& request) const override {
    std::string_view text = request.completion;
    if (const auto tagged = last_tagged(text)) text = *tagged;
    if (const auto fenced = last_fenced(text)) text = *fenced;
    Json value;
    try {
      value = parse_json(trim(text), "completion", kLimits);
    } catch (const DataError&) {
      return RewardOutcome::scored(0.0, {{"json", 0.0}, {"valid", 0.0}});
    }
    const bool valid = !schema_.problem(value);
    return RewardOutcome::scored(valid ? 1.0 : format_score_, {{"json", 1.0}, {"valid", valid ? 1.0 : 0.0}});
  }

  const JsonSchema schema_;
  const double format_score_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_json_schema(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<JsonSchemaReward>(spec);
}

}  // namespace sluice::rewards::internal
