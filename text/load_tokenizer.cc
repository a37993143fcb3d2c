#include <array>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "text/internal/tokenizer_files.h"
#include "text/sentencepiece/tokenizer.h"
#include "text/tokenizer.h"

namespace sluice::text {
namespace {

// What belongs to a tokenizer, in the order in which it is told. All of it is kept as it is, because other
// programs recognise a tokenizer by its bytes.
constexpr std::array kFiles = {internal::kTokenizerJson,
                               internal::kTokenizerModel,
                               internal::kTokenizerConfig,
                               internal::kSpecialTokensMap,
                               internal::kAddedTokens,
                               "chat_template.jinja",
                               "vocab.json",
                               "merges.txt"};

}  // namespace

bool internal::is_json(std::string_view bytes) {
  const size_t first = bytes.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && bytes[first] == '{';
}

Json internal::parse_object(std::string_view bytes, const std::string& where) {
  Json json = parse_json(bytes, where);
  require<DataError>(json.is_object(), where, ": an object is wanted, saw ", json.type_name());
  return json;
}

std::unique_ptr<Tokenizer> internal::make_tokenizer(TokenizerFiles files, const std::string& where) {
  if (files.contains(kTokenizerJson)) return make_json_tokenizer(std::move(files), where);
  const auto model = files.find(kTokenizerModel);
  require<DataError>(model != files.end(), where, ": neither ", kTokenizerJson, " nor ", kTokenizerModel,
                     " in it");
  std::string bytes = std::move(model->second);
  files.erase(model);
  return std::make_unique<SentencePieceTokenizer>(std::move(bytes), std::move(files),
                                                  where + ": " + kTokenizerModel);
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  require<DataError>(fs::exists(path), path.string(), ": no such file or folder; looked for ",
                     internal::kTokenizerJson, ", ", internal::kTokenizerModel, " or a SentencePiece file");
  internal::TokenizerFiles files;
  if (fs::is_directory(path)) {
    for (const char* name : kFiles) {
      if (fs::exists(path / name)) files[name] = read_file(path / name, internal::kMaxTokenizerBytes);
    }
  } else {
    std::string bytes = read_file(path, internal::kMaxTokenizerBytes);
    files[internal::is_json(bytes) ? internal::kTokenizerJson : internal::kTokenizerModel] = std::move(bytes);
  }
  return internal::make_tokenizer(std::move(files), path.string());
}

}  // namespace sluice::text
