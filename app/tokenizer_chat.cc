#include "app/tokenizer_chat.h"

#include <iostream>
#include <memory>
#include <string>

#include "app/model_arguments.h"
#include "base/error.h"
#include "base/json_lines.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace sluice::app {
namespace {

struct ChatArguments {
  std::string directory, file;
  bool generation_prompt = false, json = false;
};

// One line of the file: {"messages": [...], "tools": [...]} and further variables of the template.
text::RenderedChat render(const text::ChatTemplate& chat, Json row, const std::string& where,
                          bool generation_prompt) {
  const Json messages = json_member<Json>(row, "messages", where);
  text::ChatOptions options{.add_generation_prompt = generation_prompt, .tools = nullptr};
  if (const auto tools = row.find("tools"); tools != row.end()) options.tools = *tools;
  row.erase("messages");
  row.erase("tools");
  options.extra = std::move(row);
  try {
    return chat.render(messages, options);
  } catch (const DataError& error) {
    fail<DataError>(where, ": ", error.what());
  }
}

int render_file(const ChatArguments& arguments) {
  const std::string directory = find_tokenizer(arguments.directory).string();
  const auto chat = text::load_chat_template(directory);
  require<DataError>(chat.has_value(), directory, ": no chat template in it");
  const auto tokenizer = arguments.json ? text::load_tokenizer(directory) : nullptr;
  for_each_json_line(arguments.file, [&](int64_t line, Json row) {
    const std::string where = arguments.file + ":" + std::to_string(line);
    const auto rendered = render(*chat, std::move(row), where, arguments.generation_prompt);
    if (!arguments.json) {
      std::cout << rendered.text << '\n';
      return;
    }
    const Json out = {{"text", rendered.text},
                      {"ids", tokenizer->encode(rendered.text)},
                      {"generation", rendered.generation}};
    std::cout << out.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
  });
  return 0;
}

}  // namespace

Command add_tokenizer_chat(CLI::App& app) {
  auto arguments = std::make_shared<ChatArguments>();
  app.add_option("model", arguments->directory, "A model directory with a chat template, or a run")
      ->required();
  app.add_option("--file", arguments->file,
                 "JSON lines of {\"messages\": [...]}; \"tools\" and further variables may stand beside them")
      ->required();
  app.add_flag("--generation-prompt", arguments->generation_prompt, "End where the model is to speak");
  app.add_flag("--json", arguments->json,
               "Print text, ids and the byte ranges of the text that {% generation %} marks");
  return [arguments] { return render_file(*arguments); };
}

}  // namespace sluice::app
