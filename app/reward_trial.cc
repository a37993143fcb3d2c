#include "app/reward_trial.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/json_lines.h"
#include "base/nearest.h"
#include "recipes/inputs.h"
#include "recipes/stages.h"
#include "text/chat_prompts.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using rewards::RewardSpec;

constexpr int64_t kRows = 4;  // of a dataset

std::string found(const Json& columns, const std::string& key) {
  const auto value = columns.find(key);
  if (value == columns.end() || value->is_null()) return "";
  if (value->is_array() && !value->empty() && value->front().is_string()) return value->front();
  return value->is_string() ? value->get<std::string>() : value->dump();
}

// What the row says is right, in the column that the first scorer with one reads.
std::string gold_of(const text::Row& row, const std::vector<RewardSpec>& scorers) {
  std::vector<std::string> columns;
  for (const auto& scorer : scorers) {
    const auto column = scorer.options.find("column");
    if (column != scorer.options.end() && column->is_string()) columns.push_back(*column);
  }
  columns.insert(columns.end(), {"answer", "reference"});
  for (const auto& column : columns) {
    if (auto gold = found(row.columns, column); !gold.empty()) return gold;
  }
  return "";
}

bool goes_by_tokens(const RewardSpec& spec) {
  return spec.use == "length" || spec.use == "soft_overlong" ||
         (spec.use == "repetition" && spec.options.value("of", Json()) == "tokens");
}

// A line by itself: every column of it is the row's. A prompt may be messages.
TrialRow read_line(Json line, const std::string& file, int64_t number) {
  TrialRow out;
  out.row.file = file;
  out.row.line = number;
  const auto prompt = line.find("prompt"), messages = line.find("messages");
  if (prompt != line.end() && prompt->is_string()) out.row.prompt = *prompt;
  if (prompt != line.end() && prompt->is_array()) out.row.messages = *prompt;
  if (prompt == line.end() && messages != line.end() && messages->is_array()) out.row.messages = *messages;
  const auto completion = line.find("completion");
  if (completion != line.end() && completion->is_string()) {
    out.completion = *completion;
  } else {
    out.problem = "\"completion\" is " + std::string(completion == line.end() ? "missing" : "no text") +
                  " at " + out.row.where();
  }
  if (line.contains("ids")) {
    for (const int64_t id : json_member<std::vector<int64_t>>(line, "ids", out.row.where()))
      out.ids.push_back(static_cast<int32_t>(id));
  }
  out.row.columns = std::move(line);
  return out;
}

std::vector<TrialRow> read_lines(const std::string& file) {
  std::vector<TrialRow> rows;
  for_each_json_line(
      file, [&](int64_t number, Json line) { rows.push_back(read_line(std::move(line), file, number)); });
  require<DataError>(!rows.empty(), file, ": no line in it");
  return rows;
}

// Scorers that go by tokens have nothing to go by where a text has none.
void need_ids(Trial& trial) {
  const auto scorer = std::ranges::find_if(trial.scorers, goes_by_tokens);
  if (scorer == trial.scorers.end()) return;
  for (auto& row : trial.rows) {
    if (!row.ids.empty() || !row.problem.empty()) continue;
    row.problem =
        scorer->name + " goes by sampled tokens, and there is no list \"ids\" at " + row.row.where();
  }
}

// Text unless it reads as a number, a truth value or a list.
Json option_value(const std::string& text) {
  const Json value = Json::parse(text, /*callback=*/nullptr, /*allow_exceptions=*/false);
  const bool typed = value.is_number() || value.is_boolean() || value.is_array() || value.is_string();
  return typed ? value : Json(text);
}

bool is_program(const std::string& word) {
  return fs::is_regular_file(word) && ::access(word.c_str(), X_OK) == 0;
}

// The kind of plug-in that a word looks like; empty for none.
std::string plugin_kind(const std::string& word) {
  const auto path = fs::path(
      word.substr(0, word.rfind(".py:") == std::string::npos ? word.size() : word.rfind(".py:") + 3));
  if (word.starts_with("http://") || word.starts_with("https://")) return "http";
  if (path.extension() == ".py") return "python";
  if (path.extension() == ".so") return "library";
  return is_program(word) ? "command" : "";
}

Trial of_scorer(const TrialArguments& arguments) {
  require<UsageError>(arguments.stage.empty(), "reward test: --stage is of a recipe, and ", arguments.tested,
                      " is none");
  Trial trial;
  trial.scorers = {reward_spec(arguments.tested, arguments.settings)};
  trial.mix = [](const auto& specs) { return rewards::RewardMix(specs, {}); };
  require<UsageError>(!arguments.file.empty(),
                      "reward test: give --file, JSON lines of {\"prompt\", \"completion\", "
                      "\"answer\"}; a recipe has a dataset, ",
                      arguments.tested, " has none");
  trial.rows = read_lines(arguments.file);
  for (auto& row : trial.rows) row.gold = gold_of(row.row, trial.scorers);
  return trial;
}

const recipes::StageSpec& scored_stage(const recipes::Recipe& recipe, const TrialArguments& arguments) {
  if (!arguments.stage.empty()) {
    const auto& stage = recipe.stage(arguments.stage);
    require<UsageError>(!stage.rewards.empty(), "reward test: the stage ", stage.name, " has no reward");
    return stage;
  }
  for (const auto& stage : recipe.stages) {
    if (!stage.rewards.empty()) return stage;
  }
  fail<UsageError>("reward test: ", arguments.tested, " has no stage with rewards");
}

// The first rows of the stage's dataset, each with its gold answer as completion.
std::vector<TrialRow> read_dataset(const recipes::Recipe& recipe, const recipes::StageSpec& stage,
                                   const std::vector<RewardSpec>& scorers, int64_t count) {
  require<UsageError>(stage.data_from.empty(), "reward test: the stage ", stage.name, " reads what ",
                      stage.data_from, " keeps in a run; give --file, or the --stage of another");
  const auto rows = text::open_prompts(stage.data, stage.split());
  const auto chat = recipe.model.path.empty() ? std::nullopt : text::load_chat_template(recipe.model.path);
  std::vector<TrialRow> out;
  for (int64_t i = 0; i < std::min(count, rows->size()); ++i) {
    TrialRow one;
    one.row = rows->at(i);
    if (chat) text::render_prompt(one.row, &*chat);
    one.gold = gold_of(one.row, scorers);
    if (one.gold.empty()) one.gold = one.row.completion;
    one.completion = one.row.completion.empty() ? one.gold : one.row.completion;
    if (one.completion.empty())
      one.problem = "no gold answer at " + one.row.where() + "; give completions with --file";
    out.push_back(std::move(one));
  }
  return out;
}

// A line with a prompt stands by itself; one without is a completion of the dataset's row of the same number.
std::vector<TrialRow> completions_of(std::vector<TrialRow> lines, const std::vector<TrialRow>& dataset,
                                     const std::vector<RewardSpec>& scorers) {
  for (size_t i = 0; i < lines.size(); ++i) {
    auto& line = lines[i];
    if (!line.row.columns.contains("prompt") && !line.row.columns.contains("messages") &&
        i < dataset.size()) {
      line.row = dataset[i].row;
      line.gold = dataset[i].gold;
    } else {
      line.gold = gold_of(line.row, scorers);
    }
  }
  return lines;
}

void encode(Trial& trial, const recipes::Recipe& recipe) {
  if (std::ranges::none_of(trial.scorers, goes_by_tokens)) return;
  const auto tokenizer = recipes::make_tokenizer(recipe);
  for (auto& row : trial.rows) {
    if (row.ids.empty() && row.problem.empty()) row.ids = tokenizer->encode(row.completion);
  }
}

Trial of_recipe(const TrialArguments& arguments) {
  const auto recipe =
      std::make_shared<recipes::Recipe>(recipes::load_recipe(arguments.tested, arguments.settings));
  const auto& stage = scored_stage(*recipe, arguments);
  Trial trial;
  trial.scorers = stage.rewards;
  trial.mix = [recipe, stage](const auto& specs) {
    auto some = stage;
    some.rewards = specs;
    return recipes::make_rewards(*recipe, some);
  };
  auto lines = arguments.file.empty() ? std::vector<TrialRow>() : read_lines(arguments.file);
  const bool paired = std::ranges::any_of(lines, [](const auto& line) {
    return !line.row.columns.contains("prompt") && !line.row.columns.contains("messages");
  });
  const int64_t count = !lines.empty() ? std::ssize(lines) : arguments.rows > 0 ? arguments.rows : kRows;
  auto dataset =
      lines.empty() || paired ? read_dataset(*recipe, stage, trial.scorers, count) : std::vector<TrialRow>();
  trial.rows = lines.empty() ? std::move(dataset) : completions_of(std::move(lines), dataset, trial.scorers);
  encode(trial, *recipe);
  return trial;
}

bool is_recipe(const std::string& word) {
  const auto extension = fs::path(word).extension();
  return extension == ".toml" || extension == ".json";
}

}  // namespace

RewardSpec reward_spec(const std::string& word, const std::vector<std::string>& settings) {
  RewardSpec spec;
  for (const auto& setting : settings) {
    const size_t equals = setting.find('=');
    require<UsageError>(equals != std::string::npos && equals > 0, "reward: \"", setting,
                        "\" is no KEY=VALUE");
    spec.options[setting.substr(0, equals)] = option_value(setting.substr(equals + 1));
  }
  std::vector<std::string> names;
  for (const auto& entry : rewards::reward_entries()) names.push_back(entry.name);
  const auto known = [&](const std::string& name) { return std::ranges::count(names, name) > 0; };
  const std::string kind = known(word) ? "" : plugin_kind(word);
  require<UsageError>(known(word) || known(kind), "reward: there is no scorer \"", word, "\"",
                      did_you_mean(word, names, "; `sluice reward list` names them"),
                      kind.empty() ? "" : " Rewards of the kind \"" + kind + "\" are none of this build's");
  spec.use = known(word) ? word : kind;
  if (kind.empty()) {
    spec.name = word;
  } else if (kind == "command") {  // without a slash it would be looked up on PATH
    spec.options[kind] = Json::array({fs::absolute(word).string()});
  } else {
    spec.options[kind] = kind == "python" && word.ends_with(".py") ? word + ":reward" : word;
  }
  return spec;
}

Trial open_trial(const TrialArguments& arguments) {
  Trial trial = is_recipe(arguments.tested) ? of_recipe(arguments) : of_scorer(arguments);
  if (arguments.rows > 0 && std::ssize(trial.rows) > arguments.rows)
    trial.rows.resize(static_cast<size_t>(arguments.rows));
  need_ids(trial);
  return trial;
}

}  // namespace sluice::app
