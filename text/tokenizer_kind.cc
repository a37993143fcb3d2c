#include "base/files.h"
#include "base/json.h"
#include "text/internal/tokenizer_files.h"
#include "text/sentencepiece/model.h"
#include "text/tokenizer.h"

namespace sluice::text {
namespace {

std::string sentencepiece_kind(const std::string& bytes, const std::string& where) {
  const auto model = internal::read_sentencepiece_model(bytes, where);
  std::string kind = "SentencePiece ";
  if (model.kind == internal::ModelKind::Unigram) kind += "unigram";
  if (model.kind == internal::ModelKind::Bpe) kind += "bpe";
  if (model.kind == internal::ModelKind::Character) kind += "characters";
  return kind + (model.byte_fallback ? ", unknown characters as bytes" : "");
}

std::string json_kind(const std::string& bytes, const std::string& where) {
  const Json document = parse_json(bytes, where, {.max_bytes = internal::kMaxTokenizerBytes});
  const Json model = json_member<Json>(document, "model", where);
  return "tokenizer.json " + json_member_or<std::string>(model, "type", "BPE", where);
}

}  // namespace

std::string tokenizer_kind(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  fs::path file = path;
  if (fs::is_directory(path)) {
    const bool fast = fs::exists(path / internal::kTokenizerJson);
    file = path / (fast ? internal::kTokenizerJson : internal::kTokenizerModel);
  }
  const std::string bytes = read_file(file, internal::kMaxTokenizerBytes);
  return internal::is_json(bytes) ? json_kind(bytes, file.string())
                                  : sentencepiece_kind(bytes, file.string());
}

}  // namespace sluice::text
