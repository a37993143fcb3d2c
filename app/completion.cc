// Scripts that let a shell finish words: commands, options, keys and files of recipes.
#include <algorithm>
#include <iostream>
#include <memory>
#include <set>

#include "app/command.h"
#include "app/manual.h"
#include "base/shell_word.h"
#include "recipes/schema_help.h"

namespace sluice::app {
namespace {

// What may stand behind a command: its words, and whether files and assignments may, too.
struct Choices {
  std::string path;
  std::vector<std::pair<std::string, std::string>> options;   // name, help
  std::vector<std::pair<std::string, std::string>> commands;  // name, help
  bool takes_recipe = false, takes_topic = false;
  std::vector<std::string> words;  // of a positional with choices
};

std::vector<Choices> choices_of(const CLI::App& root) {
  std::vector<Choices> all;
  for (const auto& page : command_pages(root)) {
    Choices choices{.path = page.path};
    for (const auto* option : options_of(*page.app))
      choices.options.emplace_back(option_name(*option), option->get_description());
    choices.options.emplace_back("--help", "Print what it takes");
    for (const auto* sub : subcommands_of(*page.app))
      choices.commands.emplace_back(sub->get_name(), sub->get_description());
    for (const auto* positional : positionals_of(*page.app)) {
      const std::string name = positional->get_name(true), values = option_value(*positional);
      choices.takes_recipe = choices.takes_recipe || name == "recipe" || name == "tested";
      choices.takes_topic = choices.takes_topic || name == "topic";
      std::string word;
      for (const char c : values.starts_with('{') ? values.substr(1) : "") {
        if (c != ',' && c != '}') {
          word += c;
        } else {
          choices.words.push_back(std::exchange(word, ""));
        }
      }
    }
    all.push_back(std::move(choices));
  }
  return all;
}

std::string names(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string text;
  for (const auto& item : items) text += (text.empty() ? "" : " ") + item.first;
  return text;
}

std::string joined(const std::vector<std::string>& words, const std::string& behind = "") {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : " ") + word + behind;
  return text;
}

std::string fish_quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  return out + "'";
}

// The cases "reward test") words=... of a shell's case statement.
void print_cases(const std::vector<Choices>& all) {
  for (const auto& choices : all) {
    std::cout << "    " << shell_quoted(choices.path)
              << ")\n      flags=" << shell_quoted(names(choices.options)) << "\n      offers="
              << shell_quoted(names(choices.commands) +
                              (choices.words.empty() ? "" : " " + joined(choices.words)))
              << (choices.takes_recipe ? "\n      recipe=yes" : "")
              << (choices.takes_topic ? "\n      topic=yes" : "") << " ;;\n";
  }
}

// The same in bash and zsh: which command the words before the cursor are.
constexpr const char* kFindPath = R"(  for word in "${before[@]}"; do
    case "$word" in -*) continue ;; esac
    candidate="${spoken:+$spoken }$word"
    case " $known " in *" ${candidate// /_} "*) spoken="$candidate" ;; *) break ;; esac
  done
)";

void print_known(const std::vector<Choices>& all) {
  std::cout << "  known='";
  for (const auto& choices : all) {
    std::string name = choices.path;
    std::ranges::replace(name, ' ', '_');
    std::cout << (name.empty() ? "" : " ") << name;
  }
  std::cout << "'\n  keys=" << shell_quoted(joined(recipes::recipe_keys(), "="))
            << "\n  topics=" << shell_quoted(joined(recipes::recipe_words())) << '\n';
}

void print_bash(const std::vector<Choices>& all) {
  std::cout << "# For bash: source <(sluice completion bash)\n_sluice() {\n"
               "  local current=\"${COMP_WORDS[COMP_CWORD]}\" spoken='' candidate word known keys topics\n"
               "  local flags='' offers='' recipe='' topic=''\n"
               "  local -a before=(\"${COMP_WORDS[@]:1:COMP_CWORD-1}\")\n";
  print_known(all);
  std::cout << kFindPath << "  case \"$spoken\" in\n";
  print_cases(all);
  std::cout << R"(  esac
  [[ $topic ]] && offers="$offers $topics"
  if [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$current"))
    return
  fi
  COMPREPLY=($(compgen -W "$offers" -- "$current"))
  [[ $recipe ]] || return
  local file
  while IFS= read -r file; do
    case "$file" in *.toml | *.json) COMPREPLY+=("$file") ;; *) [[ -d $file ]] && COMPREPLY+=("$file/") ;; esac
  done < <(compgen -f -- "$current")
  if [[ $current ]]; then
    for word in $(compgen -W "$keys" -- "$current"); do COMPREPLY+=("$word"); done
  fi
  [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=/] ]] && compopt -o nospace 2>/dev/null
  return 0
}
complete -o default -F _sluice sluice
)";
}

void print_zsh(const std::vector<Choices>& all) {
  std::cout << "#compdef sluice\n# For zsh: source <(sluice completion zsh), behind compinit\n_sluice() {\n"
               "  local current=\"${words[CURRENT]}\" spoken='' candidate word known keys topics\n"
               "  local flags='' offers='' recipe='' topic=''\n"
               "  local -a before\n  before=(\"${(@)words[2,CURRENT-1]}\")\n";
  print_known(all);
  std::cout << kFindPath << "  case \"$spoken\" in\n";
  print_cases(all);
  std::cout << R"(  esac
  [[ -n $topic ]] && offers="$offers $topics"
  if [[ $current == -* ]]; then
    compadd -- ${=flags}
    return
  fi
  [[ -n ${offers// /} ]] && compadd -- ${=offers}
  if [[ -n $recipe ]]; then
    _files -g '*.(toml|json)'
    [[ -n $current ]] && compadd -S '' -- ${=keys}
  elif [[ -z ${offers// /} ]]; then
    _files
  fi
}
compdef _sluice sluice
)";
}

void print_fish(const std::vector<Choices>& all) {
  std::cout << "# For fish: sluice completion fish | source\n"
               "function __sluice_at\n"
               "  set -l words (commandline -opc)[2..-1]\n"
               "  set -l known (string split '|' -- $argv[2])\n"
               "  set -l path\n"
               "  for word in $words\n"
               "    string match -q -- '-*' $word; and continue\n"
               "    set -l candidate (string join ' ' -- $path $word)\n"
               "    contains -- $candidate $known; or break\n"
               "    set path $path $word\n"
               "  end\n"
               "  test \"$path\" = \"$argv[1]\"\n"
               "end\n";
  std::string known;
  for (const auto& choices : all) known += (known.empty() ? "" : "|") + choices.path;
  std::cout << "set -g __sluice_known " << fish_quoted(known) << "\ncomplete -c sluice -e\n";
  for (const auto& choices : all) {
    const std::string at = "complete -c sluice -n " +
                           fish_quoted("__sluice_at " + fish_quoted(choices.path) + " $__sluice_known");
    for (const auto& [name, help] : choices.commands)
      std::cout << at << " -f -a " << name << " -d " << fish_quoted(help) << '\n';
    for (const auto& [name, help] : choices.options) {
      const bool is_long = name.starts_with("--");
      std::cout << at << (is_long ? " -l " : " -s ") << name.substr(is_long ? 2 : 1) << " -d "
                << fish_quoted(help) << '\n';
    }
    for (const auto& word : choices.words) std::cout << at << " -f -a " << word << '\n';
    if (choices.takes_topic)
      std::cout << at << " -f -a " << fish_quoted(joined(recipes::recipe_words())) << '\n';
    if (choices.takes_recipe)
      std::cout << at << " -a " << fish_quoted(joined(recipes::recipe_keys(), "=")) << '\n';
  }
}

}  // namespace

Command add_completion(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  app.add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  return [&app, shell] {
    const auto all = choices_of(*app.get_parent());
    (*shell == "bash" ? print_bash : *shell == "zsh" ? print_zsh : print_fish)(all);
    return 0;
  };
}

}  // namespace sluice::app
