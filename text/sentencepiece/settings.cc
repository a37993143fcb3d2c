#include "text/sentencepiece/settings.h"

#include <charconv>

#include "base/error.h"
#include "base/json.h"
#include "text/internal/utf8.h"

namespace sluice::text::internal {
namespace {

constexpr int64_t kMaxId = 1 << 24;
constexpr size_t kMaxTokenBytes = 1024;

Json read_object(const TokenizerFiles& files, const char* name, const std::string& where) {
  const auto found = files.find(name);
  return found == files.end() ? Json::object() : parse_object(found->second, where);
}

void add_token(std::map<TokenId, AddedToken>& added, int64_t id, AddedToken token, const std::string& where) {
  const auto& text = token.content;
  require<DataError>(id >= 0 && id <= kMaxId, where, ": the token \"", text, "\" has the id ", id);
  require<DataError>(!text.empty() && text.size() <= kMaxTokenBytes && valid_utf8_prefix(text) == text.size(),
                     where, ": the token with id ", id, " is empty, longer than ", kMaxTokenBytes,
                     " bytes or not UTF-8");
  added.insert_or_assign(static_cast<TokenId>(id), std::move(token));
}

int64_t parse_id(const std::string& key, const std::string& where) {
  int64_t id = -1;
  const auto end = key.data() + key.size();
  require<DataError>(std::from_chars(key.data(), end, id).ptr == end && !key.empty(), where,
                     ": added_tokens_decoder has the key \"", key, "\", not an id");
  return id;
}

void read_decoder(const Json& decoder, std::map<TokenId, AddedToken>& added, const std::string& where) {
  for (const auto& [key, entry] : decoder.items()) {
    require<DataError>(entry.is_object(), where, ": added_tokens_decoder[\"", key, "\"] is ",
                       entry.type_name(), ", not an object");
    add_token(added, parse_id(key, where), read_added_token(entry, where), where);
  }
}

// A token is spelled "</s>" or {"content": "</s>", ...}.
std::string spelled(const Json& config, const char* name, const std::string& where) {
  const auto found = config.find(name);
  if (found == config.end() || found->is_null()) return {};
  if (found->is_object()) return json_member<std::string>(*found, "content", where);
  return json_member<std::string>(config, name, where);
}

std::optional<bool> flag(const Json& config, const char* name, const std::string& where) {
  const auto found = config.find(name);
  if (found == config.end() || found->is_null()) return std::nullopt;
  return json_member<bool>(config, name, where);
}

}  // namespace

SentencePieceSettings read_settings(const TokenizerFiles& files, const std::string& where) {
  const std::string beside = where + ": beside it, ";
  std::map<TokenId, AddedToken> added;
  const std::string list = beside + kAddedTokens;
  const Json listed = read_object(files, kAddedTokens, list);
  for (const auto& [token, id] : listed.items()) {
    require<DataError>(id.is_number_integer(), list, ": the token \"", token, "\" has no id");
    add_token(added, id.get<int64_t>(), {.content = token, .special = true}, list);
  }
  const std::string name = beside + kTokenizerConfig;
  const Json config = read_object(files, kTokenizerConfig, name);
  const Json decoder = json_member_or(config, "added_tokens_decoder", Json::object(), name);
  read_decoder(decoder, added, name);

  SentencePieceSettings settings;
  settings.added = std::move(added);
  settings.bos = spelled(config, "bos_token", name);
  settings.eos = spelled(config, "eos_token", name);
  settings.pad = spelled(config, "pad_token", name);
  settings.add_bos = flag(config, "add_bos_token", name).value_or(false);
  settings.add_eos = flag(config, "add_eos_token", name).value_or(false);
  settings.legacy = flag(config, "legacy", name);
  settings.add_prefix_space = flag(config, "add_prefix_space", name);
  return settings;
}

}  // namespace sluice::text::internal
