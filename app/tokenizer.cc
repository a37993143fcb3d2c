#include "text/tokenizer.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <memory>

#include "app/command.h"
#include "app/input_lines.h"
#include "app/model_arguments.h"
#include "app/tokenizer_chat.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/terminal.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kKinds = {"bpe", "unigram", "characters"};

struct TrainArguments {
  std::vector<std::string> texts, specials;
  std::string kind = "bpe", output;
  int64_t vocab_size = 0;  // 0: the default of the kind
};

std::string join_files(const std::vector<std::string>& files) {
  std::string joined;
  for (const auto& file : files) {
    joined += read_file(file);
    if (!joined.empty() && joined.back() != '\n') joined += '\n';
  }
  return joined;
}

void check_arguments(const TrainArguments& arguments) {
  if (std::ranges::find(kKinds, arguments.kind) == kKinds.end()) {
    fail<UsageError>("tokenizer train: --kind is \"", arguments.kind, "\"",
                     did_you_mean(arguments.kind, kKinds), " There are bpe, unigram, characters");
  }
  require<UsageError>(
      arguments.kind != "characters" || (arguments.vocab_size == 0 && arguments.specials.empty()),
      "tokenizer train: --vocab-size and --special are for bpe and unigram; a tokenizer of "
      "characters has those of its text");
  require<UsageError>(!fs::exists(arguments.output), "tokenizer train: --output ", arguments.output,
                      " exists already; name a folder that does not");
}

std::unique_ptr<text::Tokenizer> train_one(const std::string& text, const TrainArguments& arguments) {
  if (arguments.kind == "characters") return text::train_character_tokenizer(text);
  text::TokenizerTraining training{.kind = arguments.kind, .special_tokens = arguments.specials};
  if (arguments.vocab_size != 0) training.vocab_size = arguments.vocab_size;
  return text::train_tokenizer(text, training);
}

int train(const TrainArguments& arguments) {
  check_arguments(arguments);
  const std::string text = join_files(arguments.texts);
  if (arguments.kind != "characters" && text.size() > text::kMaxTrainingBytes) {
    std::cerr << "notice: the text has " << format_bytes(text.size()) << "; evenly spread lines, "
              << format_bytes(text::kMaxTrainingBytes) << " of them, are learned from\n";
  }
  const auto began = std::chrono::steady_clock::now();
  ProgressLine progress("training a tokenizer (" + arguments.kind + ") on " + format_bytes(text.size()), 0);
  progress.update(0);
  const auto tokenizer = train_one(text, arguments);
  progress.clear();
  tokenizer->save(arguments.output);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::cout << format_count(tokenizer->vocab_size()) << " ids in " << format_seconds(took.count())
            << "; look at it with: sluice tokenizer info " << arguments.output << '\n';
  return 0;
}

struct EncodeArguments {
  std::string directory, text, file, specials = "parse";
  bool json = false;
};

void print_ids(const std::vector<text::TokenId>& ids, bool json) {
  if (json) {
    std::cout << Json{{"ids", ids}}.dump() << '\n';
    return;
  }
  for (size_t i = 0; i < ids.size(); ++i) std::cout << (i == 0 ? "" : " ") << ids[i];
  std::cout << '\n';
}

int encode(const EncodeArguments& arguments, bool has_text) {
  require<UsageError>(has_text != !arguments.file.empty(),
                      "tokenizer encode: give either --text TEXT or --file FILE");
  require<UsageError>(arguments.specials == "parse" || arguments.specials == "as-text",
                      "tokenizer encode: --specials is \"", arguments.specials,
                      "\"; there are parse, as-text");
  const auto specials = arguments.specials == "parse" ? text::Specials::Parse : text::Specials::AsText;
  const auto tokenizer = text::load_tokenizer(find_tokenizer(arguments.directory));
  if (has_text) {
    print_ids(tokenizer->encode(arguments.text, specials), arguments.json);
    return 0;
  }
  for (const auto& text : read_texts(arguments.file)) {
    print_ids(tokenizer->encode(text, specials), arguments.json);
  }
  return 0;
}

std::vector<text::TokenId> parse_ids(const std::string& list) {
  std::vector<text::TokenId> ids;
  const char* at = list.data();
  const char* end = at + list.size();
  while (at != end) {
    text::TokenId id = 0;
    const auto read = std::from_chars(at, end, id);
    require<UsageError>(read.ec == std::errc() && (read.ptr == end || *read.ptr == ','),
                        "tokenizer decode: --ids at \"", std::string(at, end),
                        "\" is no id; write them as \"1,2,3\"");
    ids.push_back(id);
    at = read.ptr == end ? end : read.ptr + 1;
  }
  return ids;
}

int decode(const std::string& directory, const std::string& list) {
  const auto ids = parse_ids(list);
  const auto tokenizer = text::load_tokenizer(directory);
  for (const auto id : ids) {
    require<UsageError>(id >= 0 && id < tokenizer->vocab_size(), "tokenizer decode: the id ", id,
                        " is not in the vocabulary of ", directory, "; its ids go from 0 to ",
                        tokenizer->vocab_size() - 1);
  }
  std::cout << tokenizer->decode(ids) << '\n';
  return 0;
}

Json describe_special(const text::Tokenizer& tokenizer, std::optional<text::TokenId> id) {
  if (!id) return nullptr;
  return {{"id", *id}, {"token", tokenizer.decode(std::vector{*id}, /*keep_specials=*/true)}};
}

int info(const std::string& directory, bool json) {
  const auto tokenizer = text::load_tokenizer(directory);
  const Json specials = {{"bos", describe_special(*tokenizer, tokenizer->bos_id())},
                         {"eos", describe_special(*tokenizer, tokenizer->eos_id())},
                         {"pad", describe_special(*tokenizer, tokenizer->pad_id())}};
  const std::string kind = text::tokenizer_kind(directory);
  if (json) {
    const Json report = {{"kind", kind},
                         {"vocab_size", tokenizer->vocab_size()},
                         {"specials", specials},
                         {"around_a_text", tokenizer->with_specials({})},
                         {"hash", tokenizer->hash()}};
    std::cout << report.dump(2) << '\n';
    return 0;
  }
  std::cout << "kind        " << kind << "\nvocabulary  " << format_count(tokenizer->vocab_size()) << '\n';
  for (const auto& [name, special] : specials.items()) {
    std::cout << name << "         ";
    if (special.is_null()) {
      std::cout << "none\n";
    } else {
      std::cout << special["id"] << ' ' << special["token"].get<std::string>() << '\n';
    }
  }
  std::cout << "hash        " << tokenizer->hash() << '\n';
  return 0;
}

CLI::App* add_train(CLI::App& app, TrainArguments& arguments) {
  auto* sub = app.add_subcommand("train", "Train one from text files");
  sub->add_option("--text", arguments.texts, "UTF-8 text files")->required();
  sub->add_option("--kind", arguments.kind, "bpe, unigram or characters")->capture_default_str();
  sub->add_option("--vocab-size", arguments.vocab_size,
                  "bpe, unigram: how many ids, 512 to 32000 (default 8000)");
  sub->add_option("--special", arguments.specials, "bpe, unigram: further special tokens, like <|im_start|>");
  sub->add_option("--output", arguments.output, "The folder to write; it must not exist")->required();
  return sub;
}

CLI::App* add_encode(CLI::App& app, EncodeArguments& arguments) {
  auto* sub = app.add_subcommand("encode", "Print the ids of a text, or of each line of a file");
  sub->add_option("tokenizer", arguments.directory, "A folder with a tokenizer, its file, or a run")
      ->required();
  sub->add_option("--text", arguments.text, "The text");
  sub->add_option("--file", arguments.file, "JSON lines with a column `text`");
  sub->add_option("--specials", arguments.specials, "What spells a special token is: parse (its id), as-text")
      ->capture_default_str();
  sub->add_flag("--json", arguments.json, "Print {\"ids\": [...]} per text");
  return sub;
}

}  // namespace

Command add_tokenizer(CLI::App& app) {
  struct Arguments {
    TrainArguments train;
    EncodeArguments encode;
    std::string directory, ids;
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  app.require_subcommand(1);
  auto* training = add_train(app, arguments->train);
  auto* encoding = add_encode(app, arguments->encode);
  auto* decoding = app.add_subcommand("decode", "Print the text of ids");
  decoding->add_option("--ids", arguments->ids, "Ids with commas between them: \"1,2,3\"")->required();
  auto* about = app.add_subcommand("info", "Say what a tokenizer is");
  about->add_flag("--json", arguments->json, "Print JSON");
  for (auto* sub : {decoding, about}) {
    sub->add_option("tokenizer", arguments->directory, "A folder with a tokenizer, its file, or a run")
        ->required();
  }
  auto* chatting = app.add_subcommand("chat", "Print what the chat template makes of conversations");
  return [arguments, training, encoding, decoding, chatting, chat = add_tokenizer_chat(*chatting)] {
    if (chatting->parsed()) return chat();
    if (training->parsed()) return train(arguments->train);
    if (encoding->parsed()) return encode(arguments->encode, encoding->count("--text") > 0);
    const std::string directory = find_tokenizer(arguments->directory).string();
    if (decoding->parsed()) return decode(directory, arguments->ids);
    return info(directory, arguments->json);
  };
}

}  // namespace sluice::app
