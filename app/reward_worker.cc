#include <memory>
#include <string>

#include "app/command.h"
#include "rewards/library_worker.h"

namespace sluice::app {

// Started for a reward that is a shared library, by whoever scores with it; nothing for a person.
Command add_reward_worker(CLI::App& app) {
  app.group("");
  auto library = std::make_shared<std::string>();
  app.add_option("library", *library, "The shared library")->required();
  return [library] { return rewards::run_library_worker(*library); };
}

}  // namespace sluice::app
