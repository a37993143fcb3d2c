#include "transport/handshake.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/json.h"

namespace sluice::transport {
namespace {

constexpr JsonLimits kLimits{.max_bytes = 16u << 10, .max_depth = 2};
constexpr size_t kMaxName = 64;
constexpr size_t kMaxHash = 256;

// These end in logs, metrics and file names.
std::string plain_text(const Json& json, const char* key, std::string_view where, size_t max_bytes) {
  auto text = json_member<std::string>(json, key, where);
  const auto printable = [](char c) { return c > ' ' && c <= '~'; };
  require<DataError>(text.size() <= max_bytes && std::all_of(text.begin(), text.end(), printable), where,
                     ": ", key, " must be at most ", max_bytes,
                     " printable characters without spaces, it has ", text.size(), " bytes");
  return text;
}

std::string differs(const char* what, const std::string& ours, const std::string& theirs,
                    const char* advice) {
  return std::string("the ") + what + " differs: the learner has " + (ours.empty() ? "none" : ours) +
         ", the actor has " + (theirs.empty() ? "none" : theirs) + "; " + advice;
}

}  // namespace

std::string encode_identity(const Identity& identity) {
  // As text: JSON numbers above 2^53 do not survive every reader.
  const Json json = {{"protocol", identity.protocol},
                     {"run", identity.run},
                     {"tokenizer_hash", identity.tokenizer_hash},
                     {"model_hash", identity.model_hash},
                     {"template_hash", identity.template_hash},
                     {"rewards_hash", identity.rewards_hash},
                     {"role", identity.role},
                     {"name", identity.name},
                     {"incarnation", std::to_string(identity.incarnation)},
                     {"pid", identity.pid}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Identity decode_identity(std::string_view json_text) {
  constexpr std::string_view where = "identity of an actor";
  const Json json = parse_json(json_text, where, kLimits);
  Identity identity;
  identity.protocol = json_member<int64_t>(json, "protocol", where);
  identity.name = plain_text(json, "name", where, kMaxName);
  require<DataError>(!identity.name.empty(), where, ": the name is empty");
  if (identity.protocol != Identity{}.protocol) return identity;
  identity.run = plain_text(json, "run", where, kMaxHash);
  identity.tokenizer_hash = plain_text(json, "tokenizer_hash", where, kMaxHash);
  identity.model_hash = plain_text(json, "model_hash", where, kMaxHash);
  identity.template_hash = plain_text(json, "template_hash", where, kMaxHash);
  identity.rewards_hash = plain_text(json, "rewards_hash", where, kMaxHash);
  identity.role = plain_text(json, "role", where, kMaxName);
  const auto digits = plain_text(json, "incarnation", where, 20);
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), identity.incarnation);
  require<DataError>(error == std::errc() && end == digits.data() + digits.size(), where,
                     ": incarnation must be a number below 2^64, found ", digits);
  identity.pid = json_member<int64_t>(json, "pid", where);
  return identity;
}

std::string refusal(const Identity& ours, const Identity& theirs) {
  if (theirs.protocol != ours.protocol) {
    return differs("protocol", std::to_string(ours.protocol), std::to_string(theirs.protocol),
                   "start both from the same build of sluice");
  }
  if (theirs.role != "actor") return "only an actor may join here, this is \"" + theirs.role + "\"";
  if (theirs.run != ours.run) {
    return differs("run", ours.run, theirs.run,
                   "this address belongs to another run: give the actor its own learner's");
  }
  if (theirs.tokenizer_hash != ours.tokenizer_hash) {
    return differs("tokenizer", ours.tokenizer_hash, theirs.tokenizer_hash,
                   "give both the same model directory");
  }
  if (theirs.model_hash != ours.model_hash) {
    return differs("model", ours.model_hash, theirs.model_hash, "give both the same model directory");
  }
  if (theirs.template_hash != ours.template_hash) {
    return differs("chat template", ours.template_hash, theirs.template_hash,
                   "give both the same model directory");
  }
  if (theirs.rewards_hash != ours.rewards_hash) {
    return differs("reward configuration", ours.rewards_hash, theirs.rewards_hash,
                   "give both the recipe.resolved.json of the run");
  }
  return "";
}

}  // namespace sluice::transport
