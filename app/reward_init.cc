#include "app/reward_init.h"

#include <filesystem>
#include <iostream>
#include <memory>
#include <utility>
#include <vector>

#include "app/reward_examples.h"
#include "base/error.h"
#include "base/files.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

int init(const fs::path& folder, const RewardExample& example) {
  for (const auto& file : example.files) {
    require<UsageError>(!fs::exists(folder / file.name), "reward init: ", (folder / file.name).string(),
                        " is there already; name another folder, which is made");
  }
  fs::create_directories(folder);
  for (const auto& file : example.files) {
    write_file_atomically(folder / file.name, file.text);
    if (file.program) {
      fs::permissions(folder / file.name,
                      fs::perms::owner_exec | fs::perms::group_exec | fs::perms::others_exec,
                      fs::perm_options::add);
    }
    std::cout << (folder / file.name).string() << '\n';
  }
  std::cout << "try it in " << folder.string() << ":\n";
  for (const auto& command : example.next) std::cout << "  " << command << '\n';
  return 0;
}

}  // namespace

Command add_reward_init(CLI::App& app) {
  auto folder = std::make_shared<std::string>(".");
  app.add_option("folder", *folder, "Where; nothing there is overwritten")->capture_default_str();
  auto* kinds = app.add_option_group("kind");
  kinds->require_option(1);
  std::vector<std::pair<const CLI::Option*, const RewardExample*>> flags;
  for (const auto& example : reward_examples()) {
    flags.emplace_back(kinds->add_flag("--" + example.kind)->description(example.what), &example);
  }
  return [folder, flags] {
    for (const auto& [flag, example] : flags) {
      if (flag->count() > 0) return init(*folder, *example);
    }
    return static_cast<int>(ExitCode::Usage);
  };
}

}  // namespace sluice::app
