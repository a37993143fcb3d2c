// Reads tokenizer.json, the form in which transformers writes every tokenizer. "truncation" and "padding" are
// how it was used last and are left out: a text is encoded whole.
#include "base/error.h"
#include "text/internal/tokenizer_files.h"
#include "text/tokenizer_json/json_tokenizer.h"

namespace sluice::text::internal {
namespace {

constexpr const char* kVersion = "1.0";

// The member, or null when it is missing.
const Json* find_part(const Json& document, const char* key) {
  const auto found = document.find(key);
  return found == document.end() || found->is_null() ? nullptr : &*found;
}

void add_tokens(const Json& document, AddedTokenList& added, const std::string& where) {
  const Json* list = find_part(document, "added_tokens");
  if (list == nullptr) return;
  require<DataError>(list->is_array(), where, "added_tokens: a list is wanted, saw ", list->type_name());
  for (size_t i = 0; i < list->size(); ++i) {
    const std::string place = where + "added_tokens[" + std::to_string(i) + "]";
    const Json& token = (*list)[i];
    added.add(read_added_token(token, place), json_member<int64_t>(token, "id", place), place);
  }
}

}  // namespace

std::unique_ptr<Tokenizer> make_json_tokenizer(TokenizerFiles files, const std::string& where) {
  const std::string file = where + ": " + kTokenizerJson;
  const Json document = parse_json(files.at(kTokenizerJson), file, {.max_bytes = kMaxTokenizerBytes});
  require<DataError>(document.is_object(), file, ": an object is wanted, saw ", document.type_name());
  const auto version = json_member_or<std::string>(document, "version", kVersion, file);
  require<DataError>(version == kVersion, file, ": version \"", version, "\" is not supported; \"", kVersion,
                     "\" is");

  const std::string prefix = file + ": ";
  TokenizerParts parts;
  const Json* model = find_part(document, "model");
  require<DataError>(model != nullptr, prefix, "model: it is missing");
  parts.model = read_token_model(*model, prefix + "model");
  if (const Json* part = find_part(document, "normalizer")) {
    parts.normalizer = read_normalizer(*part, prefix + "normalizer");
  }
  if (const Json* part = find_part(document, "pre_tokenizer")) {
    parts.pre_tokenizer = read_pre_tokenizer(*part, prefix + "pre_tokenizer");
  }
  if (const Json* part = find_part(document, "decoder"))
    parts.decoder = read_decoder(*part, prefix + "decoder");

  AddedTokenList added(parts.model->vocabulary());
  add_tokens(document, added, prefix);
  parts.specials = read_special_tokens(files, added, where);
  if (const Json* part = find_part(document, "post_processor")) {
    parts.surround = read_post_processor(*part, prefix + "post_processor");
  }
  parts.added = added.tokens();
  return std::make_unique<JsonTokenizer>(std::move(parts), std::move(files), file);
}

}  // namespace sluice::text::internal
