#include <algorithm>

#include "base/nearest.h"
#include "rewards/internal/cached_reward.h"
#include "rewards/internal/scorers.h"
#include "rewards/plugins/process_reward.h"

namespace sluice::rewards {
namespace {

using Maker = std::unique_ptr<RewardFunction> (*)(const RewardSpec&, const RewardResources&);

struct Known {
  RewardEntry entry;
  Maker make;
};

const std::vector<Known>& table() {
  static const std::vector<Known> known = {
      {{"exact_answer",
        "1 when the completion, trimmed, is the row's column `column` (default \"answer\"), else 0.",
        {"column", "ignore_case"}},
       internal::make_exact_answer},
      {{"numeric_answer",
        "1 when the number of the completion's answer is within `tolerance` (a share of it, default 1e-6) or "
        "`absolute` "
        "(default 0) of the row's column `column` (default \"answer\"), else 0.",
        {"column", "tolerance", "absolute"}},
       internal::make_numeric_answer},
      {{"math_answer",
        "1 when the completion's answer, LaTeX or text, is mathematically that of the row's column `column` "
        "(default "
        "\"answer\"), else 0.",
        {"column"}},
       internal::make_math_answer},
      {{"gsm8k",
        "1 when the last line that begins with #### or A: holds the number that the row's column `column` "
        "(default "
        "\"answer\") ends in, else 0.",
        {"column"}},
       internal::make_gsm8k},
      {{"countdown",
        "1 when the last <answer>...</answer> holds an expression of + - * / and parentheses that makes the "
        "row's `target` of its `numbers`, each used once; `format_score` (default 0) for any other "
        "expression "
        "there.",
        {"format_score"}},
       internal::make_countdown},
      {{"multiple_choice",
        "1 when the completion chooses the letter, number from 0 or text of the row's column `column` "
        "(default "
        "\"answer\") out of its list `choices` (a column, default \"choices\"; without it, letters alone), "
        "else 0.",
        {"column", "choices"}},
       internal::make_multiple_choice},
      {{"regex",
        "1 when the regular expression `pattern` (PCRE2) is found in the completion, or is all of it (`full` "
        "= true), and "
        "its first group is the row's column `column` where that is given.",
        {"pattern", "full", "column"}},
       internal::make_regex},
      {{"json_schema",
        "1 when the completion's JSON keeps to the JSON Schema in `schema` (text) or `path` (a file); "
        "`format_score` "
        "(default 0) for other JSON.",
        {"schema", "path", "format_score"}},
       internal::make_json_schema},
      {{"code_tests",
        "1 when the completion's Python program passes all tests of the row's column `column` (default "
        "\"tests\"), "
        "statements that assert or {input, output}, else 0; `partial` = true for the share passed. It runs "
        "in "
        "the "
        "`sandbox` (default \"namespaces\") with `timeout_s` (10) and `memory_mb` (1024).",
        {"column", "setup", "partial", "timeout_s", "memory_mb", "sandbox", "python", "readable"}},
       internal::make_code_tests},
      {{"keyword",
        "Share of `words` that stand in the completion as whole words or phrases; the case of letters counts "
        "with "
        "`ignore_case` = false.",
        {"words", "ignore_case"}},
       internal::make_keyword},
      {{"blocklist",
        "1 when none of `words` stands in the completion as a whole word or phrase, else 0; the case of "
        "letters counts "
        "with `ignore_case` = false.",
        {"words", "ignore_case"}},
       internal::make_blocklist},
      {{"rouge_l",
        "ROUGE-L: F1 of the longest common subsequence of words with the row's column `column` (default "
        "\"reference\"), "
        "one text or the best of a list.",
        {"column"}},
       internal::make_rouge_l},
      {{"bleu",
        "Sentence BLEU-4 from 0 to 1, as sacreBLEU has it, against the row's column `column` (default "
        "\"reference\"), one "
        "text or a list.",
        {"column"}},
       internal::make_bleu},
      {{"real_words",
        "Share of the completion's letters that stand in words of the training text (seen `min_count` times, "
        "default 2), times different words / words, scaled down below half letters or below `min_words` "
        "words "
        "(default 4).",
        {"min_count", "min_words"}},
       internal::make_real_words},
      {{"format_tags",
        "Share of `tags` (default think, answer) that stand once, closed, and in this order.",
        {"tags"}},
       internal::make_format_tags},
      {{"tag_count",
        "Share of the marks <tag> and </tag> of `tags` (default think, answer) that occur exactly once.",
        {"tags"}},
       internal::make_tag_count},
      {{"language",
        "Share of the completion's letters in the script of `language` (en, de, fr, es, it, pt, nl, pl, el, "
        "ru, uk, he, "
        "ar, fa, hi, th, ko, ja, zh), times the share of its small words among those of its neighbours.",
        {"language"}},
       internal::make_language},
      {{"repetition",
        "Different runs of `n` (default 3) words / all of them: 1 when nothing is said twice; `of` = "
        "\"tokens\" goes by the "
        "sampled tokens.",
        {"n", "of"}},
       internal::make_repetition},
      {{"length",
        "1 at `target` tokens, falling to 0 at none and at twice as many; or 1 up to `max` tokens, falling "
        "to 0 "
        "at twice as many.",
        {"target", "max"}},
       internal::make_length},
      {{"soft_overlong",
        "0 up to `max` - `buffer` tokens, falling to -`factor` (default 1) at `max`: DAPO's soft punishment; "
        "`buffer` is a fifth of `max` unless given.",
        {"max", "buffer", "factor"}},
       internal::make_soft_overlong},
      {{"reward_model",
        "What a reward model says at the completion's last token: the directory `path`, or what the stage "
        "`stage` before this one trained; kept between -`clip` and `clip` where that is given; on a `device` "
        "or in "
        "a `process` of its own.",
        {"path", "stage", "clip", "device", "process", "timeout_ms", "start_timeout_ms", "retries",
         "memory_mb"}},
       internal::make_reward_model},
      {{"python",
        "What a function of a Python file says: `python` = \"my.py:reward\", with TRL's or verl's signature "
        "(told by "
        "its parameters, or `signature`), in `workers` processes of its own.",
        plugins::process_keys({"python", "signature"})},
       internal::make_python},
      {{"command",
        "What a program says that speaks JSON lines (docs/rewards_protocol.md): `command` = \"./judge "
        "--strict\", in "
        "`workers` processes.",
        plugins::process_keys({"command"})},
       internal::make_command},
      {{"library",
        "What a shared library with the C interface of include/sluice_reward.h says: `library` = \"./r.so\", "
        "in "
        "`workers` processes of its own.",
        plugins::process_keys({"library"})},
       internal::make_library},
      {{"http",
        "What a server says to a POST of OpenRLHF's shape: `http` = \"http://127.0.0.1:9000/score\"; "
        "`labels` and "
        "`ground_truth` are the row's column `column` (default \"answer\").",
        {"http", "column", "folder", "timeout_ms", "retries", "pure"}},
       internal::make_http},
      {{"judge",
        "The points, from 0 to 1, that a language model gives by your `rubric`: `judge` = "
        "\"http://127.0.0.1:8000/v1\" is "
        "an endpoint as OpenAI's, `model` its name there; `key_env` names the variable with the key.",
        {"judge", "model", "rubric", "column", "scale", "key_env", "max_tokens", "parallel", "folder",
         "timeout_ms", "retries", "pure"}},
       internal::make_judge},
  };
  return known;
}

template <class Range>
std::string suggestion(const std::string& word, const Range& candidates) {
  std::string all;
  for (const auto& candidate : candidates) all += (all.empty() ? "" : ", ") + std::string(candidate);
  return did_you_mean(word, candidates, "; there is " + (all.empty() ? "none" : all));
}

void check_options(const RewardSpec& spec, const RewardEntry& entry) {
  require<UsageError>(spec.options.is_object(), internal::speaker(spec), ": options are a table, saw ",
                      spec.options.type_name());
  for (const auto& item : spec.options.items()) {
    const auto& key = item.key();
    const bool known = std::find(entry.options.begin(), entry.options.end(), key) != entry.options.end();
    require<UsageError>(known, internal::speaker(spec), " has no option \"", key, "\"",
                        known ? "" : suggestion(key, entry.options));
  }
}

}  // namespace

const std::vector<RewardEntry>& reward_entries() {
  static const std::vector<RewardEntry> entries = [] {
    std::vector<RewardEntry> all;
    for (const auto& known : table()) all.push_back(known.entry);
    return all;
  }();
  return entries;
}

std::unique_ptr<RewardFunction> make_reward(const RewardSpec& spec, const RewardResources& resources) {
  std::vector<std::string> names;
  for (const auto& known : table()) {
    if (known.entry.name == spec.use) {
      check_options(spec, known.entry);
      auto made = known.make(spec, resources);
      if (!internal::option<bool>(spec, "pure", false)) return made;
      return std::make_unique<internal::CachedReward>(std::move(made));
    }
    names.push_back(known.entry.name);
  }
  fail<UsageError>(internal::speaker(spec), " does not exist", suggestion(spec.use, names));
}

}  // namespace sluice::rewards
