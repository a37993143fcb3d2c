// Rotary scaling as config.json states it (spec section 15.2).
#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/error.h"
#include "base/quoted_name.h"
#include "model/families/decoder_config.h"

namespace sluice::model {
namespace {

constexpr double kMaxFactor = 1e9;
constexpr std::string_view kTypes[] = {"default", "linear", "dynamic", "yarn", "llama3", "longrope"};

std::vector<double> factors(const ConfigReader& table, const char* key, int64_t count) {
  const auto values = json_member<std::vector<double>>(table.json(), key, table.where());
  require<DataError>(std::ssize(values) == count, table.where(), ": ", key, " has ", values.size(),
                     " numbers, half the rotated part of a head has ", count);
  for (const double value : values) {
    require<DataError>(std::isfinite(value) && value > 0, table.where(), ": ", key, " holds ", value);
  }
  return values;
}

int64_t original_position(const ConfigReader& table, const ConfigReader& json) {
  constexpr const char* kKey = "original_max_position_embeddings";
  if (table.has(kKey)) return table.size(kKey, kMaxPosition);
  return json.size_or(kKey, json.size_or("max_position_embeddings", 2048, kMaxPosition), kMaxPosition);
}

double read_factor(const ConfigReader& table, const ConfigReader& json, const RopeConfig& rope) {
  const double ratio = static_cast<double>(json.size_or("max_position_embeddings", 2048, kMaxPosition)) /
                       static_cast<double>(rope.original_max_position);
  const bool may_be_missing = rope.type == "yarn" || rope.type == "longrope";
  const double factor = may_be_missing ? table.number_or("factor", ratio) : table.number("factor");
  require<DataError>(factor > 0 && factor < kMaxFactor && (factor >= 1 || may_be_missing), table.where(),
                     ": the rope factor is ", factor);
  return factor;
}

void read_llama3(const ConfigReader& table, RopeConfig& rope) {
  rope.original_max_position = table.size("original_max_position_embeddings", kMaxPosition);
  rope.low_freq_factor = table.number("low_freq_factor");
  rope.high_freq_factor = table.number("high_freq_factor");
  require<DataError>(rope.low_freq_factor > 0 && rope.high_freq_factor > rope.low_freq_factor, table.where(),
                     ": low_freq_factor ", rope.low_freq_factor, " and high_freq_factor ",
                     rope.high_freq_factor);
}

// 0.1 m ln(s) + 1 (YaRN 2023)
double yarn_scale(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

void read_yarn(const ConfigReader& table, RopeConfig& rope) {
  rope.beta_fast = table.number_or("beta_fast", rope.beta_fast);
  rope.beta_slow = table.number_or("beta_slow", rope.beta_slow);
  rope.truncate = table.flag_or("truncate", rope.truncate);
  require<DataError>(rope.beta_fast > 0 && rope.beta_slow > 0, table.where(), ": beta_fast ", rope.beta_fast,
                     " and beta_slow ", rope.beta_slow);
  const double mscale = table.number_or("mscale", 0), all = table.number_or("mscale_all_dim", 0);
  const double usual = mscale != 0 && all != 0
                           ? yarn_scale(rope.factor, mscale) / yarn_scale(rope.factor, all)
                           : yarn_scale(rope.factor, 1.0);
  rope.table_scale = table.number_or("attention_factor", usual);
}

void read_longrope(const ConfigReader& table, RopeConfig& rope) {
  rope.short_factor = factors(table, "short_factor", rope.rotary_dim / 2);
  rope.long_factor = factors(table, "long_factor", rope.rotary_dim / 2);
  const double length = std::log(static_cast<double>(rope.original_max_position));
  const double usual = rope.factor <= 1 || length <= 0 ? 1.0 : std::sqrt(1 + std::log(rope.factor) / length);
  rope.table_scale = table.number_or("attention_factor", usual);
}

}  // namespace

RopeConfig read_rope_table(const ConfigReader& table, const ConfigReader& json, int64_t head_dim,
                           double theta) {
  RopeConfig rope;
  rope.theta = table.number_or("rope_theta", theta);
  require<DataError>(rope.theta > 0 && rope.theta < 1e18, table.where(), ": rope_theta is ", rope.theta);
  const double part = table.number_or("partial_rotary_factor", json.number_or("partial_rotary_factor", 1.0));
  rope.rotary_dim = part > 0 && part <= 1 ? static_cast<int64_t>(static_cast<double>(head_dim) * part) : 0;
  require<DataError>(rope.rotary_dim >= 2 && rope.rotary_dim % 2 == 0, table.where(), ": heads of ", head_dim,
                     " numbers of which ", part, " are rotated are no pairs");
  rope.type = table.text_or(table.has("rope_type") ? "rope_type" : "type", "default");
  // As the first Phi-3 files call it; YaRN itself has no factor of its own for each frequency.
  const bool old_yarn = rope.type == "yarn" && table.has("short_factor");
  if (rope.type == "su" || old_yarn) rope.type = "longrope";
  const bool known = std::ranges::find(kTypes, rope.type) != std::end(kTypes);
  require<DataError>(known, table.where(), ": rope type ", quoted_name(rope.type),
                     " is not supported; those that are: default, linear, dynamic, yarn, llama3, longrope");
  if (rope.type == "default") return rope;

  rope.original_max_position = original_position(table, json);
  rope.factor = read_factor(table, json, rope);
  if (rope.type == "llama3") {
    read_llama3(table, rope);
  } else if (rope.type == "yarn") {
    read_yarn(table, rope);
  } else if (rope.type == "longrope") {
    read_longrope(table, rope);
  } else if (rope.type == "dynamic") {
    rope.original_max_position = json.size_or("max_position_embeddings", 2048, kMaxPosition);
  }
  return rope;
}

RopeConfig read_rope(const ConfigReader& json, int64_t head_dim, double default_theta) {
  const double theta = json.number_or("rope_theta", default_theta);
  const char* key = json.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (json.has(key)) return read_rope_table(json.object(key), json, head_dim, theta);
  static const Json kNothing = Json::object();
  return read_rope_table(ConfigReader(kNothing, json.where()), json, head_dim, theta);
}

}  // namespace sluice::model
