#include "base/byte_codec.h"
#include "base/error.h"
#include "buffers/rollout_group.h"

namespace sluice::buffers {
namespace {

constexpr uint8_t kVersion = 3;  // 3: greedy_baseline
constexpr const char* kWhere = "lease";

// A row's JSON came out of a file that was checked, so text that is not UTF-8 is a mistake further up.
std::string json_text(const Json& json, const text::Row& row) {
  try {
    return json.dump();
  } catch (const Json::exception& error) {
    fail<DataError>("lease: the row at ", row.where(), " is not JSON text: ", error.what());
  }
}

void encode_row(ByteWriter& out, const text::Row& row) {
  out.bytes(row.prompt);
  out.bytes(row.completion);
  out.bytes(json_text(row.messages, row));
  out.bytes(json_text(row.columns, row));
  out.bytes(row.file);
  out.i64(row.line);
}

text::Row decode_row(ByteReader& in) {
  text::Row row;
  row.prompt = in.bytes();
  row.completion = in.bytes();
  row.messages = parse_json(in.bytes(), "messages of a lease");
  row.columns = parse_json(in.bytes(), "columns of a lease");
  row.file = in.bytes();
  row.line = in.i64();
  require<DataError>(row.messages.is_null() || row.messages.is_array(), kWhere, ": messages are ",
                     row.messages.type_name());
  require<DataError>(row.columns.is_object(), kWhere, ": columns are ", row.columns.type_name());
  return row;
}

void encode_sampling(ByteWriter& out, const SamplingParams& sampling) {
  out.f64(sampling.temperature);
  out.i64(sampling.top_k);
  out.f64(sampling.top_p);
  out.f64(sampling.min_p);
  out.f64(sampling.repetition_penalty);
  out.f64(sampling.frequency_penalty);
  out.f64(sampling.presence_penalty);
  out.u32(static_cast<uint32_t>(sampling.logit_bias.size()));
  for (const auto& [token, bias] : sampling.logit_bias) {
    out.u32(static_cast<uint32_t>(token));
    out.f64(bias);
  }
  out.u32(static_cast<uint32_t>(sampling.stop_strings.size()));
  for (const auto& stop : sampling.stop_strings) out.bytes(stop);
  out.i64(sampling.max_new_tokens);
}

SamplingParams decode_sampling(ByteReader& in) {
  SamplingParams sampling;
  sampling.temperature = in.f64();
  sampling.top_k = in.i64();
  sampling.top_p = in.f64();
  sampling.min_p = in.f64();
  sampling.repetition_penalty = in.f64();
  sampling.frequency_penalty = in.f64();
  sampling.presence_penalty = in.f64();
  const auto num_biases = in.u32();
  require<DataError>(num_biases <= kMaxLogitBiases, kWhere, ": ", num_biases, " biases, at most ",
                     kMaxLogitBiases, " are allowed");
  for (uint32_t i = 0; i < num_biases; ++i) {
    const auto token = static_cast<int32_t>(in.u32());
    sampling.logit_bias.push_back({.token = token, .bias = in.f64()});
  }
  const auto num_stops = in.u32();
  require<DataError>(num_stops <= kMaxStopStrings, kWhere, ": ", num_stops, " stop strings, at most ",
                     kMaxStopStrings, " are allowed");
  for (uint32_t i = 0; i < num_stops; ++i) sampling.stop_strings.emplace_back(in.bytes());
  sampling.max_new_tokens = in.i64();
  return sampling;
}

bool decode_flag(ByteReader& in, const char* name) {
  const auto flag = in.u8();
  require<DataError>(flag <= 1, kWhere, ": ", name, " is ", int{flag});
  return flag == 1;
}

void check(const Lease& lease) {
  const auto& sampling = lease.sampling;
  require<DataError>(lease.attempt >= 0 && lease.step >= 0 && lease.version >= 0 && lease.lease_ms >= 0,
                     kWhere, ": group ", lease.group, " has attempt ", lease.attempt, ", step ", lease.step,
                     ", version ", lease.version, ", lease_ms ", lease.lease_ms);
  require<DataError>(lease.num_samples >= 1 && lease.num_samples <= GroupLimits().max_samples, kWhere,
                     ": group ", lease.group, " is to have ", lease.num_samples, " samples");
  const auto fault = sampling_fault(sampling);
  require<DataError>(fault.empty(), kWhere, ": ", fault);
  require<DataError>(sampling.max_new_tokens >= 1 && sampling.max_new_tokens <= GroupLimits().max_tokens,
                     kWhere, ": max_new_tokens ", sampling.max_new_tokens);
}

}  // namespace

std::string encode_lease(const Lease& lease) {
  ByteWriter out;
  out.u8(kVersion);
  out.u64(lease.group);
  out.u32(static_cast<uint32_t>(lease.attempt));
  out.i64(lease.step);
  out.i64(lease.version);
  out.u8(lease.exact_version ? 1 : 0);
  out.i64(lease.num_samples);
  out.u8(lease.greedy_baseline ? 1 : 0);
  out.u64(lease.seed);
  encode_sampling(out, lease.sampling);
  out.i64(lease.lease_ms);
  encode_row(out, lease.row);
  return out.take();
}

Lease decode_lease(std::string_view bytes) {
  ByteReader in(bytes, kWhere);
  const auto version = in.u8();
  require<DataError>(version == kVersion, kWhere, ": format ", int{version}, ", this program reads ",
                     int{kVersion});
  Lease lease;
  lease.group = in.u64();
  lease.attempt = static_cast<int32_t>(in.u32());
  lease.step = in.i64();
  lease.version = in.i64();
  lease.exact_version = decode_flag(in, "exact_version");
  lease.num_samples = in.i64();
  lease.greedy_baseline = decode_flag(in, "greedy_baseline");
  lease.seed = in.u64();
  lease.sampling = decode_sampling(in);
  lease.lease_ms = in.i64();
  lease.row = decode_row(in);
  in.finish();
  check(lease);
  return lease;
}

}  // namespace sluice::buffers
