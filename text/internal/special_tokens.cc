#include "text/internal/special_tokens.h"

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
    const bool listed = config_.contains("added_tokens_decoder");
    take_named(config_, place(kTokenizerConfig));
    if (listed) {
      add_listed();
    } else {
      const Json map = parse(kSpecialTokensMap);
      take_named(map, place(kSpecialTokensMap));
      add_legacy();
      add_named();
      add_extra(map, place(kSpecialTokensMap));
    }
    if (listed) add_named();
    add_extra(config_, place(kTokenizerConfig));
    return {.bos = id_of("bos_token"),
            .eos = id_of("eos_token"),
            .pad = id_of("pad_token"),
            .surround = surround()};
  }

 private:
  struct Named {
    AddedToken token;
    bool by_name_only;  // only its text was given
  };

  std::string place(const char* file) const { return where_ + ": " + file; }

  Json parse(const char* file) const {
    const auto found = files_.find(file);
    if (found == files_.end()) return Json::object();
    Json parsed = parse_json(found->second, place(file));
    require<DataError>(parsed.is_object(), place(file), ": an object is wanted, saw ", parsed.type_name());
    return parsed;
  }

  // A special token, given as its text or as an object.
  static Named read_token(const Json& value, const std::string& place) {
    if (!value.is_string()) {
      Named named{read_added_token(value, place), false};
      named.token.special = true;
      return named;
    }
    AddedToken token;
    token.content = value.get<std::string>();
    token.special = true;
    return {token, true};
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
    for (const auto& [id, token] : tokens) {
      added_.add(token, id, list + "." + std::to_string(id));
      known_[token.content] = token;
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
      token.special = std::any_of(named_.begin(), named_.end(), [&](const auto& named) {
        return named.second.token.content == token.content;
      });
      token.normalized = !token.special;
      added_.add(token, id, place(kAddedTokens));
    }
    for (const auto& [id, token] : added_.tokens()) known_[token.content] = token;
  }

  void add_named() {
    for (const char* key : kNamed) {
      const auto found = named_.find(key);
      if (found == named_.end()) continue;
      const auto known = known_.find(found->second.token.content);
      AddedToken token = known == known_.end() ? found->second.token : known->second;
      token.special = true;
      added_.add(token, std::nullopt, where_ + ": " + key);
    }
    for (const auto& [key, named] : named_) {
      if (std::find(kNamed.begin(), kNamed.end(), key) == kNamed.end()) {
        added_.add(named.token, std::nullopt, where_ + ": " + key);
      }
    }
  }

  void add_extra(const Json& object, const std::string& file) {
    for (const char* key : {"extra_special_tokens", "additional_special_tokens"}) {
      const auto found = object.find(key);
      if (found == object.end() || !found->is_structured()) continue;
      for (const auto& value : *found) {
        added_.add(read_token(value, file + ": " + key).token, std::nullopt, file + ": " + key);
      }
    }
  }

  std::optional<TokenId> id_of(const std::string& key) const {
    const auto found = named_.find(key);
    return found == named_.end() ? std::nullopt : added_.id(found->second.token.content);
  }

  std::optional<Surround> surround() const {
    if (!config_.contains("add_bos_token") && !config_.contains("add_eos_token")) return std::nullopt;
    const std::string file = place(kTokenizerConfig);
    Surround out;
    const auto put = [&](const char* wanted, const char* key, std::vector<TokenId>& ids) {
      const auto id = id_of(key);
      if (json_member_or<bool>(config_, wanted, false, file) && id) ids.push_back(*id);
    };
    put("add_bos_token", "bos_token", out.before);
    put("add_eos_token", "eos_token", out.after);
    return out;
  }

  const TokenizerFiles& files_;
  AddedTokenList& added_;
  const std::string& where_;
  const Json config_;
  std::map<std::string, Named> named_;  // by key, "bos_token"
  std::map<std::string, AddedToken>
      known_;  // by content: the properties that win over those given with a name
};

}  // namespace

SpecialTokens read_special_tokens(const TokenizerFiles& files, AddedTokenList& added,
                                  const std::string& where) {
  return Reader(files, added, where).read();
}

}  // namespace sluice::text::internal
