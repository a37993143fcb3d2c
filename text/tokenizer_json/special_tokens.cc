#include "text/tokenizer_json/special_tokens.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <utility>

#include "base/error.h"

namespace sluice::text::internal {
namespace {

// Named tokens that get ids in this order if the vocabulary lacks them; others come behind.
constexpr std::array kNamed = {"bos_token", "eos_token", "unk_token", "sep_token",
                               "pad_token", "cls_token", "mask_token"};

class Reader {
 public:
  Reader(const TokenizerFiles& files, AddedTokenList& added, const std::string& where)
      : files_(files), added_(added), where_(where), config_(parse(kTokenizerConfig)) {}

  SpecialTokens read() {
    take_named(config_, place(kTokenizerConfig));
    if (config_.contains("added_tokens_decoder")) {
      add_listed();
      add_named();
    } else {
      const Json map = parse(kSpecialTokensMap);
      take_named(map, place(kSpecialTokensMap));
      add_legacy();
      add_named();
      add_extra(map, place(kSpecialTokensMap));
    }
    add_extra(config_, place(kTokenizerConfig));
    return {.bos = id_of("bos_token"), .eos = id_of("eos_token"), .pad = id_of("pad_token")};
  }

 private:
  std::string place(const char* file) const { return where_ + ": " + file; }

  Json parse(const char* file) const {
    const auto found = files_.find(file);
    return found == files_.end() ? Json::object() : parse_object(found->second, place(file));
  }

  // A special token, given as its text or as an object.
  static AddedToken read_token(const Json& value, const std::string& place) {
    AddedToken token;
    if (value.is_string()) {
      token.content = value.get<std::string>();
    } else {
      token = read_added_token(value, place);
    }
    token.special = true;
    return token;
  }

  bool is_named(const std::string& content) const {
    return std::any_of(named_.begin(), named_.end(),
                       [&](const auto& named) { return named.second.content == content; });
  }

  void take_named(const Json& object, const std::string& place) {
    for (const auto& [key, value] : object.items()) {
      const bool is_token = value.is_string() || value.is_object();
      if (key.ends_with("_token") && is_token) named_[key] = read_token(value, place + ": " + key);
    }
  }

  // added_tokens_decoder: {"0": {"content": ...}, ...}
  void add_listed() {
    const std::string list = place(kTokenizerConfig) + ": added_tokens_decoder";
    const auto& object = config_.at("added_tokens_decoder");
    require<DataError>(object.is_object(), list, ": an object is wanted, saw ", object.type_name());
    std::map<int64_t, AddedToken> tokens;
    for (const auto& [key, value] : object.items()) {
      int64_t id = -1;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
      require<DataError>(error == std::errc() && end == key.data() + key.size(), list, ": \"", key,
                         "\" is no id");
      tokens[id] = read_added_token(value, list + "." + key);
    }
    for (auto& [id, token] : tokens) {
      if (added_.has(token)) continue;
      token.special |= is_named(token.content);
      added_.add(token, id, list + "." + std::to_string(id));
    }
  }

  // added_tokens.json: {"<text>": 50257, ...}; what tokenizer.json itself says wins.
  void add_legacy() {
    const Json object = parse(kAddedTokens);
    std::map<int64_t, std::string> tokens;
    for (const auto& [content, id] : object.items()) {
      tokens[json_member<int64_t>(object, content, place(kAddedTokens))] = content;
    }
    for (const auto& [id, content] : tokens) {
      if (added_.tokens().contains(static_cast<TokenId>(id))) continue;
      AddedToken token;
      token.content = content;
      token.special = is_named(content);
      token.normalized = !token.special;
      added_.add(token, id, place(kAddedTokens));
    }
  }

  void add_if_missing(const AddedToken& token, const std::string& place) {
    if (!added_.id(token.content)) added_.add(token, std::nullopt, place);
  }

  void add_named() {
    for (const char* key : kNamed) {
      const auto found = named_.find(key);
      if (found != named_.end()) add_if_missing(found->second, where_ + ": " + key);
    }
    for (const auto& [key, token] : named_) add_if_missing(token, where_ + ": " + key);
  }

  void add_extra(const Json& object, const std::string& file) {
    for (const char* key : {"extra_special_tokens", "additional_special_tokens"}) {
      const auto found = object.find(key);
      if (found == object.end() || !found->is_structured()) continue;
      for (const auto& value : *found) {
        add_if_missing(read_token(value, file + ": " + key), file + ": " + key);
      }
    }
  }

  std::optional<TokenId> id_of(const std::string& key) const {
    const auto found = named_.find(key);
    return found == named_.end() ? std::nullopt : added_.id(found->second.content);
  }

  const TokenizerFiles& files_;
  AddedTokenList& added_;
  const std::string& where_;
  const Json config_;
  std::map<std::string, AddedToken> named_;  // by key, "bos_token"
};

}  // namespace

SpecialTokens read_special_tokens(const TokenizerFiles& files, AddedTokenList& added,
                                  const std::string& where) {
  return Reader(files, added, where).read();
}

}  // namespace sluice::text::internal
