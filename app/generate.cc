#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>

#include "actors/completion_text.h"
#include "actors/engine.h"
#include "actors/stop_ids.h"
#include "app/command.h"
#include "app/input_lines.h"
#include "app/manual.h"
#include "app/model_arguments.h"
#include "app/sampling_arguments.h"
#include "base/error.h"
#include "base/json.h"
#include "base/shared_work.h"
#include "base/terminal.h"
#include "base/terminal_text.h"
#include "text/chat_template.h"

namespace sluice::app {
namespace {

constexpr int64_t kDefaultTokens = 256;

struct GenerateArguments {
  ModelArguments model;
  std::string prompts, prompt;
  bool ids = false, chat = false, ignore_eos = false, json = false;
  SamplingArguments sampling;  // max_new_tokens 0: kDefaultTokens, or as many as fit
  uint64_t seed = 0;
  int64_t batch = 64;
};

void check_arguments(const GenerateArguments& arguments) {
  require<UsageError>(arguments.prompts.empty() != arguments.prompt.empty(),
                      "generate: wants either --prompts FILE or --prompt TEXT");
  require<UsageError>(!arguments.ids || !arguments.prompts.empty(),
                      "generate: --ids goes with --prompts FILE");
  require<UsageError>(!arguments.ids || !arguments.chat, "generate: --chat wants text, not --ids");
}

void check_biases(const buffers::SamplingParams& sampling, const model::ModelConfig& config) {
  for (const auto& [token, bias] : sampling.logit_bias) {
    require<UsageError>(token < config.vocab_size, "generate: --logit-bias ", token, "=", bias,
                        ": the last token of the model is ", config.vocab_size - 1);
  }
}

// What prompts are rendered with, if they are.
std::optional<text::ChatTemplate> load_template(const GenerateArguments& arguments,
                                                const LoadedModel& model) {
  if (!arguments.chat) return std::nullopt;
  auto chat = text::load_chat_template(model.directory);
  require<DataError>(chat.has_value(), model.directory.string(),
                     ": no chat template in it, and --chat wants one");
  return chat;
}

std::vector<InputLine> read_prompts(const GenerateArguments& arguments) {
  if (arguments.prompts.empty()) return {{.where = "--prompt", .text = arguments.prompt, .ids = {}}};
  auto lines = read_input_lines(arguments.prompts, "prompt", arguments.ids);
  for (const auto& line : lines) {
    require<DataError>(!arguments.chat || line.ids.empty(), line.where, ": --chat wants text, not ids");
  }
  return lines;
}

// Null where there is none and none is needed: ids are answered with ids.
std::unique_ptr<text::Tokenizer> load_tokenizer(const LoadedModel& model,
                                                const std::vector<InputLine>& lines) {
  const bool all_ids = std::ranges::none_of(lines, [](const auto& line) { return line.ids.empty(); });
  if (!all_ids) return model.need_tokenizer();
  std::string why = model.directory.string() + ": no tokenizer in it";
  try {
    if (auto tokenizer = model.load_tokenizer()) return tokenizer;
  } catch (const DataError& error) {
    why = error.what();
  }
  std::cerr << "sluice: " << why << "; completions are printed without text\n";
  return nullptr;
}

// What the model is asked: the text as it stands behind a begin of sequence, or as what a user says.
std::vector<int64_t> encode(const text::Tokenizer& tokenizer, const std::optional<text::ChatTemplate>& chat,
                            const std::string& text) {
  std::vector<int32_t> ids;
  if (chat) {
    const auto message = Json::array({{{"role", "user"}, {"content", text}}});
    ids = tokenizer.encode(chat->render(message, {.add_generation_prompt = true}).text);
  } else {
    ids = tokenizer.with_specials(tokenizer.encode(text));
  }
  return {ids.begin(), ids.end()};
}

std::vector<actors::GenerationRequest> make_requests(const GenerateArguments& arguments,
                                                     const buffers::SamplingParams& common,
                                                     const model::ModelConfig& config,
                                                     std::vector<InputLine> lines,
                                                     const text::Tokenizer* tokenizer,
                                                     const std::optional<text::ChatTemplate>& chat) {
  std::vector<actors::GenerationRequest> requests;
  for (auto& line : lines) {
    if (line.ids.empty()) line.ids = encode(*tokenizer, chat, line.text);
    auto sampling = common;
    if (sampling.max_new_tokens == 0) {
      const int64_t room = config.max_position - std::ssize(line.ids);
      sampling.max_new_tokens = std::clamp<int64_t>(room, 1, kDefaultTokens);
    }
    const auto number = static_cast<uint64_t>(requests.size());
    requests.push_back({.id = number,
                        .prompt = checked_ids(line, config, sampling.max_new_tokens),
                        .seed = arguments.seed,
                        .group = number,
                        .sampling = sampling});
  }
  return requests;
}

std::string json_line(const buffers::Completion& completion, const text::Tokenizer* tokenizer,
                      const std::vector<std::string>& stops) {
  Json line = {{"ids", completion.tokens}};
  if (tokenizer != nullptr) line["text"] = actors::completion_text(completion, *tokenizer, stops);
  line["logprobs"] = completion.logprobs;
  line["finish_reason"] = completion.finish == buffers::FinishReason::Length ? "length" : "stop";
  return line.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string plain_line(const buffers::Completion& completion, const text::Tokenizer* tokenizer,
                       const std::vector<std::string>& stops) {
  if (tokenizer != nullptr) return actors::completion_text(completion, *tokenizer, stops);
  std::string line;
  for (const int32_t id : completion.tokens) line += (line.empty() ? "" : " ") + std::to_string(id);
  return line;
}

// Prints every completion as soon as those before it are out.
void print_in_order(actors::Engine& engine, const std::vector<InputLine>& prompts, bool json,
                    const text::Tokenizer* tokenizer, const std::vector<std::string>& stops) {
  const bool plain_terminal = !json && isatty(STDOUT_FILENO) != 0;  // which would obey what a model says
  std::vector<std::optional<std::string>> lines(prompts.size());
  size_t next = 0;
  while (!engine.idle()) {
    for (const auto& result : engine.step(/*version=*/0)) {
      const auto& completion = result.completions.front();
      check_logprobs(prompts[result.id].where, completion.logprobs);
      lines[result.id] =
          json ? json_line(completion, tokenizer, stops) : plain_line(completion, tokenizer, stops);
    }
    for (; next < lines.size() && lines[next]; ++next) {
      std::cout << (plain_terminal ? inert(*lines[next]) : *lines[next]) << std::endl;
      lines[next]->clear();
    }
  }
}

// Prints the one completion while it is made.
void print_as_it_comes(actors::Engine& engine, const text::Tokenizer& tokenizer) {
  text::StreamingDecoder decoder(tokenizer);
  size_t shown = 0;
  const auto show = [&](std::span<const int32_t> tokens) {
    for (; shown < tokens.size(); ++shown) {
      // Ids that only pad the model's vocabulary have no text.
      if (tokens[shown] < tokenizer.vocab_size())
        std::cout << inert(decoder.push(tokens[shown])) << std::flush;
    }
  };
  while (!engine.idle()) {
    const auto results = engine.step(/*version=*/0);
    show(engine.tokens_of(/*id=*/0, /*sample=*/0));
    for (const auto& result : results) {
      const auto& completion = result.completions.front();
      const bool stopped = completion.finish == buffers::FinishReason::Stop;
      show(std::span(completion.tokens).first(completion.tokens.size() - (stopped ? 1 : 0)));
    }
  }
  std::cout << inert(decoder.finish()) << std::endl;
}

int generate(const GenerateArguments& arguments) {
  check_arguments(arguments);
  const auto sampling = arguments.sampling.read("generate");
  const auto model = arguments.model.load();
  const auto chat = load_template(arguments, model);
  const auto prompts = read_prompts(arguments);
  const auto tokenizer = load_tokenizer(model, prompts);
  const auto& config = model.network->config();
  check_biases(sampling, config);
  auto requests = make_requests(arguments, sampling, config, prompts, tokenizer.get(), chat);
  std::set<int32_t> stops;
  if (!arguments.ignore_eos) {
    stops = chat ? actors::stop_ids(config, tokenizer.get(), &*chat) : model.stop_ids(tokenizer.get());
  }
  model.network->freeze();
  actors::Engine engine(*model.network, std::move(stops),
                        {.max_rows = arguments.batch, .threads = work_threads(), .reproducible = false},
                        tokenizer.get());
  for (auto& request : requests) engine.submit(std::move(request));
  // What is printed cannot be taken back when a stop string turns out to have begun in it.
  const bool streams = prompts.size() == 1 && !arguments.json && sampling.stop_strings.empty();
  if (streams && tokenizer != nullptr && is_interactive(STDOUT_FILENO)) {
    print_as_it_comes(engine, *tokenizer);
  } else {
    print_in_order(engine, prompts, arguments.json, tokenizer.get(), sampling.stop_strings);
  }
  return 0;
}

}  // namespace

Command add_generate(CLI::App& app) {
  auto arguments = std::make_shared<GenerateArguments>();
  add_model_arguments(app, arguments->model);
  app.add_option("--prompts", arguments->prompts, "JSONL of {\"prompt\": TEXT}, or {\"ids\": [...]}");
  app.add_option("--prompt", arguments->prompt, "One prompt");
  app.add_flag("--ids", arguments->ids, "Prompts are token ids, whatever text stands beside them")
      ->group(kMore);
  app.add_flag("--chat", arguments->chat, "A prompt is what a user says: render it with the chat template");
  add_sampling_arguments(app, arguments->sampling);
  app.add_option("--seed", arguments->seed, "Of the draws")->capture_default_str();
  app.add_option("--max-tokens", arguments->sampling.params.max_new_tokens,
                 "New tokens of a completion (default: 256, or what the model has positions for)")
      ->check(CLI::PositiveNumber);
  app.add_flag("--ignore-eos", arguments->ignore_eos, "Let nothing but --max-tokens end a completion")
      ->group(kMore);
  app.add_option("--batch", arguments->batch, "Completions decoded together")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(kMore);
  add_load_dtype(app, arguments->model);
  app.add_flag("--json", arguments->json, "A JSON line for each prompt: ids, text, logprobs, finish_reason");
  return [arguments] { return generate(*arguments); };
}

}  // namespace sluice::app
