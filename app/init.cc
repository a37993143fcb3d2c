// A folder to begin with: a recipe, its data, and what to type next.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>

#include "app/command.h"
#include "app/data_files.h"
#include "app/init_recipes.h"
#include "base/error.h"
#include "base/files.h"
#include "base/nearest.h"
#include "base/subprocess.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string name, from, model;
};

constexpr int64_t kRowsToSplit = 50;  // of fewer none is put aside
constexpr double kTestShare = 0.1;

// The data/ that came with this program: beside it, or beside the folder that it was built in.
fs::path shipped_data() {
  const auto folder = own_executable().parent_path();
  for (const auto& candidate : {folder / "data", folder.parent_path() / "data"}) {
    if (fs::is_directory(candidate / "gsm8k")) return candidate;
  }
  fail<EnvironmentError>("init: the data that comes with sluice is not beside ", own_executable().string(),
                         "; name a file of your own with --from rows.jsonl");
}

std::string read_me(const std::string& name, const std::string& about, const std::string& rows) {
  std::string text = "# " + name + "\n\n" + about + "\n\nIn this folder:\n\n";
  if (!rows.empty()) text += "    sluice data check " + rows + "\n";
  text +=
      "    sluice check recipe.toml          # reads it all, trains nothing\n"
      "    sluice run recipe.toml            # Ctrl-C stops it with a checkpoint\n"
      "    sluice run recipe.toml --resume   # goes on\n"
      "    sluice top runs/" +
      name + "\n    sluice rollouts runs/" + name + "\n    sluice doctor runs/" + name +
      "           # what went wrong, when something did\n\n"
      "`sluice help KEY` explains a key of the recipe, `sluice help recipe` has them all.\n";
  return text;
}

// Where the rows of one's own go: a training and a held-out file, where there are enough.
OwnData take_rows(const fs::path& file, const fs::path& folder) {
  const auto found = read_rows(file.string());
  OwnData data{.layout = found.layout, .gsm8k_answers = found.gsm8k_answers};
  fs::create_directories(folder);
  const bool asks = data.layout.kind == text::RowKind::Prompts || data.layout.kind == text::RowKind::Examples;
  if (asks && found.rows >= kRowsToSplit) {
    split_rows(file.string(), kTestShare, /*seed=*/0, folder.string());
    data.train = file.stem().string() + "_train.jsonl";
    data.test = file.stem().string() + "_test.jsonl";
  } else {
    data.train = file.filename();
    fs::copy_file(file, folder / data.train);
  }
  return data;
}

void write_folder(const fs::path& folder, const std::string& about, const std::string& recipe,
                  const std::string& rows) {
  const std::string name = folder.filename();
  fs::create_directories(folder);
  write_file_atomically(folder / "recipe.toml",
                        "# " + about + "\nname = \"" + name + "\"\nseed = 1\n" + recipe);
  write_file_atomically(folder / "README.md", read_me(name, about, rows));
  std::cout << folder.string() << "/recipe.toml\n"
            << folder.string() << "/README.md\nnext:\n  cd " << folder.string()
            << "\n  sluice check recipe.toml\n  sluice run recipe.toml\n";
}

int init(const Arguments& arguments) {
  const fs::path folder = arguments.name;
  const std::string name = folder.filename();
  require<UsageError>(
      !name.empty() &&
          std::ranges::all_of(name,
                              [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-'; }),
      "init: a run's name is made of letters, digits, _ and -, got \"", name, "\"");
  require<UsageError>(!fs::exists(folder), "init: ", folder.string(),
                      " is there already; nothing is overwritten, so take another name");
  for (const auto& source : init_sources()) {
    if (source.from != arguments.from) continue;
    require<UsageError>(arguments.model.empty(), "init: --model is for rows of your own; --from ",
                        source.from, " begins from scratch, and recipe.toml says how to change that");
    const auto data = source.files.empty() ? fs::path() : shipped_data();
    fs::create_directories(folder);
    for (const auto& [from, to] : source.files) fs::copy_file(data / from, folder / to);
    write_folder(folder, source.about, source.recipe, source.files.empty() ? "" : "train.jsonl");
    return 0;
  }
  std::vector<std::string> known;
  for (const auto& source : init_sources()) known.push_back(source.from);
  require<UsageError>(is_rows_file(arguments.from),
                      "init: --from is gsm8k, countdown, preference or a .jsonl file, saw \"", arguments.from,
                      "\"", did_you_mean(arguments.from, known));
  const std::string model =
      arguments.model.empty() ? "" : fs::absolute(arguments.model).lexically_normal().string();
  auto data = take_rows(arguments.from, folder);
  data.model = model;
  write_folder(
      folder,
      "Rows of " + fs::path(arguments.from).filename().string() + ": " + text::layout_name(data.layout) + ".",
      own_recipe(data), data.train);
  return 0;
}

}  // namespace

Command add_init(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  app.add_option("name", arguments->name, "The folder to make, and the name of its run")->required();
  app.add_option("--from", arguments->from, "gsm8k, countdown, preference, or JSON lines of your own")
      ->required();
  app.add_option("--model", arguments->model, "The model directory to begin with, with rows of your own");
  return [arguments] { return init(*arguments); };
}

}  // namespace sluice::app
