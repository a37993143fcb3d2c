#include "app/manual.h"

#include <algorithm>
#include <sstream>

namespace sluice::app {
namespace {

constexpr size_t kColumns = 100;
constexpr size_t kWidestLabel = 26;

struct Example {
  const char* path;
  const char* line;
};
// Of every command; tests/app/help_test.cc types them all.
constexpr Example kExamples[] = {
    {"", "sluice run recipes/shakespeare_words.toml"},
    {"run", "sluice run larger.toml --name first optim.lr=1e-4"},
    {"check", "sluice check larger.toml grpo.optim.lr=1e-4"},
    {"eval", "sluice eval larger.toml --model runs/larger"},
    {"generate", "sluice generate runs/larger --prompt '10 or 11? ' --greedy"},
    {"score", "sluice score runs/larger --file texts.jsonl --json"},
    {"export", "sluice export runs/larger --output larger-bf16 --dtype bfloat16"},
    {"top", "sluice top runs/larger"},
    {"rollouts", "sluice rollouts runs/larger --step 40"},
    {"compare", "sluice compare runs/larger runs/first --metric reward --svg curves.svg"},
    {"audit", "sluice audit runs/larger"},
    {"replay", "sluice replay runs/larger --step 40"},
    {"init", "sluice init first --from gsm8k"},
    {"data", "sluice data check train.jsonl"},
    {"data check", "sluice data check train.jsonl"},
    {"data dedup", "sluice data dedup train.jsonl --output once.jsonl"},
    {"data split", "sluice data split all.jsonl --test 0.1"},
    {"data leak", "sluice data leak train.jsonl test.jsonl"},
    {"data show", "sluice data show larger.toml"},
    {"reward", "sluice reward test larger.toml"},
    {"reward list", "sluice reward list"},
    {"reward explain", "sluice reward explain gsm8k"},
    {"reward test", "sluice reward test gsm8k --file answers.jsonl"},
    {"reward init", "sluice reward init rewards/mine --python"},
    {"tokenizer", "sluice tokenizer info runs/larger/checkpoints/latest/hf"},
    {"tokenizer train", "sluice tokenizer train --text corpus.txt --vocab-size 4000 --output words"},
    {"tokenizer encode", "sluice tokenizer encode words --text 'To be, or not to be'"},
    {"tokenizer decode", "sluice tokenizer decode words --ids 271,305,9"},
    {"tokenizer info", "sluice tokenizer info words --json"},
    {"tokenizer chat", "sluice tokenizer chat DIR --file talks.jsonl"},
    {"doctor", "sluice doctor runs/larger"},
    {"completion", "sluice completion bash"},
    {"bench", "sluice bench decode --model S --batch 8"},
    {"bench decode", "sluice bench decode --model S --batch 1,8 --dtype float32,bfloat16"},
    {"bench ragged", "sluice bench ragged --model S"},
    {"bench prefill", "sluice bench prefill --model S"},
    {"bench steady", "sluice bench steady --steps 200"},
    {"bench steady_learner", "sluice bench steady_learner --steps 200"},
    {"bench read", "sluice bench read --megabytes 10,100"},
    {"bench draft", "sluice bench draft --model S"},
    {"bench sampler", "sluice bench sampler --vocab 32768"},
    {"bench publish", "sluice bench publish --model M"},
    {"bench learn", "sluice bench learn --model S --dtype float32,bfloat16"},
    {"bench learn_ragged", "sluice bench learn_ragged --model S"},
    {"bench logprob", "sluice bench logprob --model S"},
    {"bench grpo", "sluice bench grpo --model S"},
    {"bench grpo_slow_reward", "sluice bench grpo_slow_reward --model S"},
    {"bench adamw", "sluice bench adamw --model M"},
    {"bench match", "sluice bench match --model tiny"},
    {"bench memory", "sluice bench memory --vocab 4096,151936"},
    {"bench monitor", "sluice bench monitor --seconds 20"},
    {"bench redis", "sluice bench redis --seconds 5"},
    {"bench rewards", "sluice bench rewards --reps 3"},
    {"bench tokenizer", "sluice bench tokenizer --tokenizer words --text corpus.txt"},
    {"help", "sluice help optim.lr"},
    {"learner", "sluice learner runs/larger --stage grpo"},
    {"actor", "sluice actor runs/larger --stage grpo --index 1"},
    {"reward-worker", "sluice reward-worker libjudge.so"},
};

std::string example_of(const std::string& path) {
  const auto* found =
      std::ranges::find(kExamples, path, [](const Example& e) { return std::string(e.path); });
  return found == std::end(kExamples) ? "" : found->line;
}

bool is_more(const std::string& group) { return group == kMore; }

// What was said of it and what is taken when nothing is said.
std::string description(const CLI::Option& option) {
  std::string text = option.get_description();
  if (!option.get_default_str().empty()) text += " (default: " + option.get_default_str() + ")";
  return text;
}

std::string label(const CLI::Option& option) {
  const std::string name = option.get_positional() ? option.get_name(true) : option.get_name(false, true);
  const std::string value = option.get_positional() ? "" : option_value(option);
  std::string spaced;
  for (const char c : name) spaced += c == ',' ? std::string(", ") : std::string(1, c);
  return spaced + (value.empty() ? "" : " " + value);
}

using Rows = std::vector<std::pair<std::string, std::string>>;

// Labels, and beside them texts that are wrapped.
void print_rows(std::ostringstream& out, const Rows& rows, size_t widest = 0) {
  for (const auto& [name, text] : rows) widest = std::max(widest, std::min(name.size(), kWidestLabel));
  const size_t indent = widest + 4;
  for (const auto& [name, text] : rows) {
    out << "  " << name;
    size_t column = name.size() + 2;
    if (column + 2 > indent) {
      out << "  ";
      column += 2;
    } else {
      out << std::string(indent - column, ' ');
      column = indent;
    }
    std::istringstream words(text);
    bool first = true;
    for (std::string word; words >> word; first = false) {
      if (!first && column + 1 + word.size() > kColumns) {
        out << '\n' << std::string(indent, ' ');
        column = indent;
        first = true;
      }
      out << (first ? "" : " ") << word;
      column += word.size() + (first ? 0 : 1);
    }
    out << '\n';
  }
}

// "More: --trace, --runs (`sluice run --help-all`)", wrapped.
void print_names(std::ostringstream& out, const std::string& title, const std::vector<std::string>& names,
                 const std::string& command) {
  if (names.empty()) return;
  std::string line = title + ":";
  const auto add = [&](const std::string& word) {
    if (line.size() + 1 + word.size() > kColumns) {
      out << line << '\n';
      line = " ";
    }
    line += " " + word;
  };
  for (const auto& name : names) add(name + (&name == &names.back() ? ";" : ","));
  add("see");
  add("`" + command + " --help-all`");
  out << line << '\n';
}

Rows rows_of(const std::vector<const CLI::Option*>& options) {
  Rows rows;
  for (const auto* option : options) rows.emplace_back(label(*option), description(*option));
  return rows;
}

void print_usage(std::ostringstream& out, const CLI::App& app, const std::string& name) {
  out << "Usage: " << name << (options_of(app).empty() ? "" : " [OPTIONS]");
  for (const auto* positional : positionals_of(app)) {
    std::string word = positional->get_name(true);
    if (positional->get_expected_max() > 1) word += "...";
    out << ' ' << (positional->get_required() ? word : "[" + word + "]");
  }
  if (!subcommands_of(app).empty()) out << (app.get_require_subcommand_min() > 0 ? " COMMAND" : " [COMMAND]");
  out << '\n';
}

// Groups in the order in which they were named.
void print_subcommands(std::ostringstream& out, const CLI::App& app, const std::string& name, bool all) {
  std::vector<std::string> groups, more;
  for (const auto* sub : subcommands_of(app)) {
    const bool named_only = is_more(sub->get_group()) && !all;
    if (named_only) more.push_back(sub->get_name());
    if (!named_only && std::ranges::count(groups, sub->get_group()) == 0) groups.push_back(sub->get_group());
  }
  size_t widest = 0;
  for (const auto* sub : subcommands_of(app)) {
    if (all || !is_more(sub->get_group())) widest = std::max(widest, sub->get_name().size());
  }
  for (const auto& group : groups) {
    Rows rows;
    for (const auto* sub : subcommands_of(app)) {
      if (sub->get_group() == group) rows.emplace_back(sub->get_name(), sub->get_description());
    }
    out << (group == "Subcommands" ? "Commands" : group) << ":\n";
    print_rows(out, rows, widest);
  }
  print_names(out, "More commands", more, name);
}

void print_command(std::ostringstream& out, const CLI::App& app, const std::string& name, bool all) {
  out << app.get_description() << '\n';
  print_usage(out, app, name);
  print_rows(out, rows_of(positionals_of(app)));
  Rows rows;
  std::vector<std::string> more;
  for (const auto* option : options_of(app)) {
    if (is_more(option->get_group()) && !all) {
      more.push_back(option_name(*option));
    } else {
      rows.emplace_back(label(*option), description(*option));
    }
  }
  if (!rows.empty()) out << "Options:\n";
  print_rows(out, rows);
  print_names(out, "More options", more, name);
  print_subcommands(out, app, name, all);
  if (!app.get_footer().empty()) out << app.get_footer() << '\n';
  const auto space = name.find(' ');
  const std::string example = example_of(space == std::string::npos ? "" : name.substr(space + 1));
  if (!example.empty()) out << "Example: " << example << '\n';
}

void add_pages(const CLI::App& app, const std::string& path, std::vector<CommandPage>& pages) {
  pages.push_back({path, example_of(path), &app});
  for (const auto* sub : subcommands_of(app))
    add_pages(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), pages);
}

// Text as troff takes it: a backslash and a leading dot mean something there, and a hyphen may be broken at.
std::string troff(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      if ((c == '.' || c == '\'') && out.empty()) out += "\\&";
      out += c;
    }
  }
  return out;
}

}  // namespace

std::vector<CommandPage> command_pages(const CLI::App& root) {
  std::vector<CommandPage> pages;
  add_pages(root, "", pages);
  return pages;
}

std::vector<const CLI::Option*> options_of(const CLI::App& app) {
  std::vector<const CLI::Option*> options;
  for (const auto* option : app.get_options()) {
    if (option->nonpositional() && !option->get_group().empty() && option != app.get_help_ptr() &&
        option != app.get_help_all_ptr())
      options.push_back(option);
  }
  for (const auto* group : app.get_subcommands({})) {  // an option group is an App without a name
    if (!group->get_name().empty()) continue;
    for (const auto* option : options_of(*group)) options.push_back(option);
  }
  return options;
}

std::vector<const CLI::Option*> positionals_of(const CLI::App& app) {
  std::vector<const CLI::Option*> options;
  for (const auto* option : app.get_options()) {
    if (option->get_positional()) options.push_back(option);
  }
  for (const auto* group : app.get_subcommands({})) {
    if (!group->get_name().empty()) continue;
    for (const auto* option : positionals_of(*group)) options.push_back(option);
  }
  return options;
}

std::vector<const CLI::App*> subcommands_of(const CLI::App& app) {
  std::vector<const CLI::App*> subs;
  for (const auto* sub : app.get_subcommands({})) {
    if (!sub->get_name().empty() && !sub->get_group().empty()) subs.push_back(sub);
  }
  return subs;
}

std::string option_name(const CLI::Option& option) {
  const auto& longs = option.get_lnames();
  return longs.empty() ? "-" + option.get_snames().front() : "--" + longs.front();
}

std::string option_value(const CLI::Option& option) {
  if (option.get_type_size() == 0) return "";
  const std::string type = option.get_type_name();  // "TEXT:{a,b}", "INT:POSITIVE"
  const auto choices = type.find('{');
  if (choices != std::string::npos) return type.substr(choices, type.find('}') + 1 - choices);
  const std::string plain = type.substr(0, type.find(':'));
  if (plain == "INT" || plain == "UINT") return "N";
  return plain == "FLOAT" ? "NUMBER" : plain;
}

std::string HelpFormatter::make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const {
  std::ostringstream out;
  const bool all = mode == CLI::AppFormatMode::All;
  print_command(out, *app, name, all);
  if (all) {
    for (const auto& page : command_pages(*app)) {
      if (page.app == app) continue;
      out << "\n== " << name << ' ' << page.path << '\n';
      print_command(out, *page.app, name + " " + page.path, all);
    }
  }
  return out.str();
}

Json manual_json(const CLI::App& root) {
  Json pages = Json::array();
  for (const auto& page : command_pages(root)) {
    Json options = Json::array(), positionals = Json::array();
    for (const auto* option : options_of(*page.app)) {
      options.push_back({{"name", option_name(*option)},
                         {"takes", option_value(*option)},
                         {"help", option->get_description()},
                         {"required", option->get_required()}});
    }
    for (const auto* option : positionals_of(*page.app))
      positionals.push_back({{"name", option->get_name(true)}, {"help", option->get_description()}});
    pages.push_back({{"command", page.path},
                     {"help", page.app->get_description()},
                     {"example", page.example},
                     {"options", options},
                     {"positionals", positionals}});
  }
  return pages;
}

std::string man_page(const CLI::App& root) {
  std::ostringstream out;
  out << ".TH SLUICE 1 \"\" \"sluice " << SLUICE_VERSION << "\" \"User Commands\"\n.SH NAME\nsluice \\- "
      << "reinforcement-learning post-training of language models\n.SH SYNOPSIS\n.B sluice\nCOMMAND "
         "[OPTIONS]\n"
      << ".SH COMMANDS\n";
  for (const auto& page : command_pages(root)) {
    if (page.path.empty()) continue;
    out << ".SS \"sluice " << troff(page.path) << "\"\n" << troff(page.app->get_description()) << '\n';
    for (const auto& options : {positionals_of(*page.app), options_of(*page.app)}) {
      for (const auto* option : options)
        out << ".TP\n.B " << troff(label(*option)) << '\n' << troff(description(*option)) << '\n';
    }
    if (!page.example.empty())
      out << ".PP\nExample:\n.PP\n.RS\n.EX\n" << troff(page.example) << "\n.EE\n.RE\n";
  }
  out << ".SH EXIT STATUS\n"
         "0 done; 1 failed; 2 usage or recipe; 3 data or model unreadable; 4 environment; 5 stopped by a\n"
         "guard or a health rule; 130 and 143 stopped by a signal with a checkpoint, \\-\\-resume goes on.\n"
         ".SH SEE ALSO\n`sluice help KEY` explains a key of a recipe, `sluice help recipe` all of them.\n";
  return out.str();
}

}  // namespace sluice::app
