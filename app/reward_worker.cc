#include "rewards/reward_worker.h"

#include <memory>
#include <string>

#include "app/command.h"

namespace sluice::app {

// Started for a reward in a process of its own, by whoever scores with it; nothing for a person.
Command add_reward_worker(CLI::App& app) {
  app.group("");
  auto library = std::make_shared<std::string>();
  auto model = std::make_shared<std::string>();
  auto* source = app.add_option_group("source")->require_option(1);
  source->add_option("library", *library, "The shared library");
  source->add_option("--model", *model, "Or the options of a reward model, as JSON");
  return [library, model] {
    return model->empty() ? rewards::run_library_worker(*library) : rewards::run_model_worker(*model);
  };
}

}  // namespace sluice::app
