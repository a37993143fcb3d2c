#include "app/init_recipes.h"

#include "base/json.h"

namespace sluice::app {
namespace {

using text::RowKind;

constexpr const char* kScratch = R"(
[model]  # 0.8 million parameters from scratch; one of yours instead: path = "DIR", and no [tokenizer]
hidden_size = 128
layers = 4
heads = 4
max_position = %MAX%

[tokenizer]
train = "characters"
)";

std::string scratch(const std::string& max_position) {
  std::string text = kScratch;
  return text.replace(text.find("%MAX%"), 5, max_position);
}

std::string quoted(const std::string& text) { return Json(text).dump(); }

std::string stage(const std::string& use, const std::string& more) {
  return "\n[[stages]]\nuse = \"" + use + "\"\n" + more;
}
std::string evaluation(const std::string& name) { return stage("eval", "name = \"" + name + "\"\n"); }

// Where a tokenizer that is trained finds what the policy is to say, if that is no `completion`.
std::string taught_by(const text::RowLayout& layout) {
  if (layout.kind == RowKind::Pairs) return "chosen";
  const bool has_column = layout.kind == RowKind::Prompts && layout.answer.find('.') == std::string::npos;
  return has_column ? layout.answer : "";
}

// How a stage learns from rows of this kind.
std::string own_stages(const OwnData& data) {
  const bool scratch = data.model.empty();
  const std::string fast = scratch ? "optim = { lr = 1e-3, warmup_steps = 10 }\n" : "";
  switch (data.layout.kind) {
    case RowKind::Prompts: {
      const std::string taught =
          scratch && !taught_by(data.layout).empty()
              ? stage("sft", "steps = 200  # what knows nothing is never right\n" + fast)
              : "";
      const std::string learn =
          stage("grpo",
                std::string("steps = 100\n") + (scratch ? "optim = { lr = 1e-4, warmup_steps = 10 }\n" : ""));
      return taught + (data.test.empty() ? learn : evaluation("before") + learn + evaluation("after"));
    }
    case RowKind::Pairs:
      return stage("dpo", "steps = 100\n" + fast);
    case RowKind::Judged:
      return stage("kto", "steps = 100\n" + fast);
    case RowKind::Text:
      return stage("pretrain", "steps = 200\n");
    default:
      return stage("sft", "steps = 200\n" + fast);
  }
}

}  // namespace

const std::vector<InitSource>& init_sources() {
  static const std::vector<InitSource> sources = {
      {"gsm8k",
       "The arithmetic inside GSM8K's solutions: a cold start from scratch, then GRPO on the exact answer.",
       {{"gsm8k/train.jsonl", "train.jsonl"}, {"gsm8k/test.jsonl", "test.jsonl"}},
       "rewards = [{ use = \"exact_answer\" }]\n"
       "data = { use = \"gsm8k_notes\", path = \"train.jsonl\", test_path = \"test.jsonl\" }\n"
       "rollout = { prompts_per_step = 64, max_new_tokens = 6 }\n" +
           scratch("64") +
           stage("sft",
                 "steps = 300\nbatch = { examples_per_step = 256 }\noptim = { lr = 2e-3, warmup_steps = 30 "
                 "}\n") +
           evaluation("before") + stage("grpo", "steps = 100\noptim = { lr = 1e-4, warmup_steps = 10 }\n") +
           evaluation("after")},
      {"countdown",
       "Make the target of the numbers: a cold start on worked traces, then DAPO on the verified answer.",
       {},
       "rewards = [{ use = \"countdown\" }]\n"
       "data = { use = \"countdown\", generated = 30000 }  # made by the program\n"
       "rollout = { prompts_per_step = 32, max_new_tokens = 56 }\n" +
           scratch("96") +
           stage("sft",
                 "steps = 400\nbatch = { examples_per_step = 64 }\noptim = { lr = 2e-3, warmup_steps = 40 "
                 "}\n") +
           evaluation("before") + stage("dapo", "steps = 100\noptim = { lr = 1e-4, warmup_steps = 10 }\n") +
           evaluation("after")},
      {"preference",
       "Pairs of a right and a wrong answer: a cold start, then direct preference optimisation.",
       {{"preference/digits_train.jsonl", "train.jsonl"}, {"preference/digits_test.jsonl", "test.jsonl"}},
       "rewards = [{ use = \"exact_answer\" }]\n"
       "data = { path = \"train.jsonl\", test_path = \"test.jsonl\", completion_column = \"answer\" }\n"
       "rollout = { max_new_tokens = 40 }\nbatch = { max_length = 64 }\n" +
           scratch("64") + stage("sft", "steps = 150\noptim = { lr = 1.25e-3, warmup_steps = 20 }\n") +
           evaluation("before") +
           stage("dpo",
                 "steps = 100\ndata = { path = \"train.jsonl\" }\n"
                 "preference = { beta = 0.3, sft_weight = 1.0, held_out = 256 }\noptim = { lr = 1e-4 }\n") +
           evaluation("after")},
  };
  return sources;
}

std::string own_recipe(const OwnData& data) {
  std::string recipe;
  if (data.layout.kind == RowKind::Prompts) {
    const std::string column = data.layout.answer.empty() ? "answer" : data.layout.answer;
    recipe += std::string("rewards = [{ use = \"") + (data.gsm8k_answers ? "gsm8k" : "exact_answer") +
              "\", column = " + quoted(column) + " }]  # others: sluice reward list\n";
  }
  recipe += "data = { path = " + quoted(data.train);
  if (!data.test.empty()) recipe += ", test_path = " + quoted(data.test);
  const bool has_column = data.layout.prompt != "prompt" && data.layout.prompt != "messages" &&
                          (data.layout.kind == RowKind::Prompts || data.layout.kind == RowKind::Examples);
  if (has_column) recipe += ", prompt_column = " + quoted(data.layout.prompt);
  if (data.model.empty() && !taught_by(data.layout).empty())
    recipe += ", completion_column = " + quoted(taught_by(data.layout));
  recipe += " }\n";
  recipe += data.model.empty() ? scratch("1024") : "model = { path = " + quoted(data.model) + " }\n";
  return recipe + own_stages(data);
}

}  // namespace sluice::app
