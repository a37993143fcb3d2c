// reward_model: what a trained reward model says of a completion behind its prompt, at its last token.
//
// Prompt and completion become tokens as they do where the model is trained: text is encoded one by one and
// ends in the end of sequence; of a conversation, where the model has a chat template, the score stands at
// the assistant's end-of-turn token. The model's own tokenizer is used, so it may differ from the policy's. A
// group goes through the network at once, what its completions begin with alike standing once.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>

#include "base/subprocess.h"
#include "model/model_directory.h"
#include "model/network.h"
#include "rewards/internal/scorers.h"
#include "rewards/plugins/process_reward.h"
#include "text/chat_template.h"
#include "text/conversation_tokens.h"
#include "text/tokenizer.h"

namespace sluice::rewards::internal {
namespace {

using Tokens = std::vector<int32_t>;

// Of a model in a process of its own; `timeout_ms` is of a group, `start_timeout_ms` of loading it.
constexpr std::array kProcessKeys = {"process", "timeout_ms", "start_timeout_ms", "retries", "memory_mb"};

std::filesystem::path path_of(const RewardSpec& spec) {
  require<UsageError>(
      !spec.options.contains("stage"), speaker(spec),
      ": `stage` names one that trains a reward model in a run, and this is none; give its directory as "
      "`path`");
  const auto path = option<std::string>(spec, "path", "");
  require<UsageError>(!path.empty(), speaker(spec),
                      ": give `path`, a directory of sequence classification with one label,"
                      " or `stage`, an earlier stage of the recipe that trains one");
  return path;
}

// Whether such a one is there is seen when the model is loaded: a recipe may be checked on another machine.
at::Device device_of(const RewardSpec& spec, const std::string& fallback) {
  const auto name = option<std::string>(spec, "device", fallback);
  std::string_view index = name;
  const bool cuda = name.starts_with("cuda");
  index.remove_prefix(std::min(name.size(), cuda ? size_t{4} : size_t{3}));
  const bool numbered = cuda && index.size() > 1 && index.size() <= 3 && index[0] == ':' &&
                        std::ranges::all_of(index.substr(1), is_digit);
  require<UsageError>(name == "cpu" || name == "cuda" || numbered, speaker(spec), ": device is \"", name,
                      "\"; it is cpu, cuda or cuda:1");
  return at::Device(name);
}

// A turn of its own behind messages that end with what is to be answered.
bool is_asked_by_messages(const text::Row& row) {
  return row.messages.is_array() && !row.messages.empty() &&
         row.messages.back().value("role", "") != "assistant";
}

// How many tokens all of them begin with alike, leaving each at least one.
size_t common_start(const std::vector<Tokens>& sequences) {
  size_t common = sequences.front().size();
  for (const auto& tokens : sequences) {
    const auto differs = std::ranges::mismatch(sequences.front(), tokens).in2 - tokens.begin();
    common = std::min({common, static_cast<size_t>(differs), tokens.size() - 1});
  }
  return common;
}

class RewardModel final : public RewardFunction {
 public:
  RewardModel(const RewardSpec& spec, const RewardResources& resources)
      : name_(spec.name.empty() ? spec.use : spec.name),
        path_(path_of(spec)),
        device_(device_of(spec, resources.device)),
        clip_(option<double>(spec, "clip", 0.0)) {
    require<UsageError>(!spec.options.contains("clip") || (std::isfinite(clip_) && clip_ > 0), speaker(spec),
                        ": clip is ", clip_, "; scores are kept between -clip and clip, which is above 0");
    model::check_model(path_, /*scalar_head=*/true);
    tokenizer_ = text::load_tokenizer(path_);
    const auto ids = model::read_model_config(path_).vocab_size;
    require<DataError>(tokenizer_->vocab_size() <= ids, path_.string(), ": its tokenizer has ",
                       tokenizer_->vocab_size(), " pieces, its network only ", ids);
    chat_ = text::load_chat_template(path_);
  }

  const std::string& name() const override { return name_; }

  // Their prompt is computed once.
  bool takes_whole_groups() const override { return true; }

  std::vector<RewardOutcome> score(std::span<const RewardRequest> group) override {
    load();
    std::vector<RewardOutcome> outcomes(group.size());
    std::vector<Tokens> sequences;
    std::vector<size_t> scored;
    for (size_t i = 0; i < group.size(); ++i) {
      auto tokens = tokens_of(group[i]);
      if (tokens.empty() || std::ssize(tokens) > network_->config().max_position) {
        outcomes[i] = RewardOutcome::unscored("of its " + std::to_string(tokens.size()) +
                                              " tokens the reward model takes " +
                                              std::to_string(network_->config().max_position));
        continue;
      }
      sequences.push_back(std::move(tokens));
      scored.push_back(i);
    }
    if (scored.empty()) return outcomes;
    const auto scores = forward(sequences);
    for (size_t i = 0; i < scored.size(); ++i) outcomes[scored[i]] = outcome_of(scores[i]);
    return outcomes;
  }

  // At the first group: whoever only checks a recipe has no need of the weights.
  void load() {
    if (network_ != nullptr) return;
    network_ = model::load_model(path_, device_, {.scalar_head = true});
    network_->freeze();
  }

 private:
  Tokens tokens_of(const RewardRequest& request) const {
    const text::Row& row = *request.row;
    if (chat_ && is_asked_by_messages(row)) {
      Json messages = row.messages;
      messages.push_back({{"role", "assistant"}, {"content", request.completion}});
      return text::conversation_tokens(*chat_, *tokenizer_, messages, text::chat_options_of(row.columns),
                                       std::ssize(row.messages))
          .ids;
    }
    Tokens tokens = tokenizer_->encode(row.prompt);
    const Tokens more = tokenizer_->encode(request.completion);
    tokens.insert(tokens.end(), more.begin(), more.end());
    if (const auto end = tokenizer_->eos_id()) tokens.push_back(*end);
    return tokens;
  }

  std::vector<double> forward(const std::vector<Tokens>& sequences) const {
    const c10::NoGradGuard no_grad;
    const size_t common = common_start(sequences);
    const auto longest = std::ssize(*std::ranges::max_element(sequences, {}, &Tokens::size));
    model::PackedBatchBuilder rows;
    std::vector<int64_t> last;
    const int64_t prefix = common == 0
                               ? model::kNoPrefix
                               : rows.add(std::span(sequences.front()).first(common), model::kNoPrefix,
                                          /*first_position=*/0, longest);
    for (const auto& tokens : sequences) {
      rows.add(std::span(tokens).subspan(common), prefix, /*first_position=*/0, longest);
      last.push_back(rows.num_rows() - 1);
    }
    const auto& device = network_->device();
    const auto scores = network_->scores(rows.build(device), at::tensor(last, at::kLong).to(device));
    const auto numbers = scores.to(at::kCPU, at::kDouble).contiguous();
    return {numbers.const_data_ptr<double>(), numbers.const_data_ptr<double>() + numbers.numel()};
  }

  // A score that is not finite stays one, for the mix to say so.
  RewardOutcome outcome_of(double score) const {
    if (clip_ == 0.0 || !std::isfinite(score)) return RewardOutcome::scored(score);
    return RewardOutcome::scored(std::clamp(score, -clip_, clip_), {{"unclipped", score}});
  }

  const std::string name_;
  const std::filesystem::path path_;
  const at::Device device_;
  const double clip_;  // 0: none
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::optional<text::ChatTemplate> chat_;
  std::unique_ptr<model::Network> network_;  // null before the first group
};

// This program with the model in it; a group goes to one process whole.
std::unique_ptr<RewardFunction> in_its_own_process(const RewardSpec& spec, const RewardResources& resources) {
  Json options = spec.options;
  for (const char* key : kProcessKeys) options.erase(key);
  options["path"] = std::filesystem::absolute(path_of(spec)).string();
  if (!options.contains("device")) options["device"] = resources.device;
  RewardSpec process = spec;
  if (process.name.empty()) process.name = spec.use;
  process.options["scope"] = "group";
  if (!process.options.contains("memory_mb")) process.options["memory_mb"] = 0;
  return plugins::make_process_reward(
      process, {own_executable().string(), "reward-worker", "--model", options.dump()});
}

}  // namespace

std::unique_ptr<RewardFunction> make_loaded_reward_model(const RewardSpec& spec) {
  auto reward = std::make_unique<RewardModel>(spec, RewardResources{});
  reward->load();
  return reward;
}

std::unique_ptr<RewardFunction> make_reward_model(const RewardSpec& spec, const RewardResources& resources) {
  auto here = std::make_unique<RewardModel>(spec, resources);  // throws for a mistake
  const bool process = option<bool>(spec, "process", false);
  for (const char* key : kProcessKeys) {
    require<UsageError>(process || !spec.options.contains(key) || std::string_view(key) == "process",
                        speaker(spec), ": ", key, " is of a model in a process of its own, process = true");
  }
  if (process) return in_its_own_process(spec, resources);
  return here;
}

}  // namespace sluice::rewards::internal
