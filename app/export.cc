#include <iostream>
#include <memory>

#include "actors/stop_ids.h"
#include "app/command.h"
#include "app/model_arguments.h"
#include "base/error.h"
#include "base/files.h"
#include "model/model_directory.h"

namespace sluice::app {

namespace fs = std::filesystem;

Command add_export(CLI::App& app) {
  struct Arguments {
    ModelArguments model;
    std::string output, dtype;
  };
  auto arguments = std::make_shared<Arguments>();
  add_model_arguments(app, arguments->model);
  app.add_option("--output", arguments->output, "The directory to write; it must not be there")->required();
  app.add_option("--dtype", arguments->dtype,
                 "What tensors are written in (default: what each was stored in)")
      ->check(CLI::IsMember({"float32", "bfloat16", "float16"}));
  return [arguments] {
    const fs::path output = fs::weakly_canonical(arguments->output);
    require<UsageError>(!fs::exists(output), "export: ", output.string(), " is there already");
    const auto model = arguments->model.load();
    const auto tokenizer = model.load_tokenizer();
    model.network->set_eos_ids(
        actors::ordered_stop_ids(model.network->config(), model.stop_ids(tokenizer.get())));
    write_directory_atomically(output, [&](const fs::path& temporary) {
      model::save_model(temporary, *model.network, {.dtype = model::dtype_named(arguments->dtype)});
      if (tokenizer) tokenizer->save(temporary);
    });
    std::cout << output.string() << '\n';
    return 0;
  };
}

}  // namespace sluice::app
