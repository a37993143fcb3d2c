#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "buffers/rollout_group.h"
#include "tests/buffers/group_cases.h"

namespace sluice::buffers {
namespace {

Lease small_lease() {
  Lease lease;
  lease.group = 41;
  lease.attempt = 2;
  lease.step = 10;
  lease.version = 9;
  lease.exact_version = false;
  lease.num_samples = 8;
  lease.greedy_baseline = true;
  lease.seed = 0xfedcba9876543210;
  lease.sampling = {.temperature = 0.7,
                    .top_k = 50,
                    .top_p = 0.9,
                    .min_p = 0.05,
                    .repetition_penalty = 1.2,
                    .frequency_penalty = 0.1,
                    .presence_penalty = -0.2,
                    .logit_bias = {{.token = 7, .bias = -100}, {.token = 3, .bias = 2.5}},
                    .max_new_tokens = 64};
  lease.lease_ms = 60'000;
  lease.row.prompt = "48/2=";
  lease.row.messages = Json::parse(R"([{"role": "user", "content": "hé"}])");
  lease.row.columns = Json::parse(R"({"z": 1, "answer": "24", "a": [1.5, null]})");
  lease.row.file = "train.jsonl";
  lease.row.line = 12;
  return lease;
}

TEST(LeaseCodec, GivesTheLeaseBackUnchanged) {
  const auto lease = small_lease();

  const auto back = decode_lease(encode_lease(lease));

  EXPECT_EQ(encode_lease(back), encode_lease(lease));
  EXPECT_EQ(back.group, 41u);
  EXPECT_EQ(back.version, 9);
  EXPECT_FALSE(back.exact_version);
  EXPECT_TRUE(back.greedy_baseline);
  EXPECT_EQ(back.seed, 0xfedcba9876543210u);
  EXPECT_EQ(back.sampling.top_p, 0.9);
  EXPECT_EQ(back.sampling.min_p, 0.05);
  EXPECT_EQ(back.sampling.repetition_penalty, 1.2);
  EXPECT_EQ(back.sampling.frequency_penalty, 0.1);
  EXPECT_EQ(back.sampling.presence_penalty, -0.2);
  ASSERT_EQ(back.sampling.logit_bias.size(), 2u);
  EXPECT_EQ(back.sampling.logit_bias[0].token, 7);
  EXPECT_EQ(back.sampling.logit_bias[1].bias, 2.5);
  EXPECT_EQ(back.sampling.max_new_tokens, 64);
  EXPECT_EQ(back.row.columns.dump(), R"({"z":1,"answer":"24","a":[1.5,null]})");  // in the order of the file
  EXPECT_EQ(back.row.messages[0]["content"], "hé");
}

TEST(LeaseCodec, RefusesBytesThatEndEarlyOrAreDamaged) {
  const std::string bytes = encode_lease(small_lease());

  for (size_t n = 0; n < bytes.size(); ++n) EXPECT_THROW(decode_lease(bytes.substr(0, n)), DataError) << n;
  EXPECT_THROW(decode_lease(bytes + "x"), DataError);
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0xff);
    try {
      decode_lease(damaged);
    } catch (const DataError&) {
      // Refused; anything else thrown fails the test.
    }
  }
}

TEST(LeaseCodec, RefusesALeaseThatMakesNoSense) {
  const std::vector<std::function<void(Lease&)>> cases = {
      [](Lease& l) { l.num_samples = 0; },
      [](Lease& l) { l.num_samples = 1 << 20; },
      [](Lease& l) { l.version = -1; },
      [](Lease& l) { l.step = -1; },
      [](Lease& l) { l.attempt = -1; },
      [](Lease& l) { l.lease_ms = -1; },
      [](Lease& l) { l.sampling.temperature = -0.1; },
      [](Lease& l) { l.sampling.temperature = std::nan(""); },
      [](Lease& l) { l.sampling.top_k = -1; },
      [](Lease& l) { l.sampling.top_p = 0; },
      [](Lease& l) { l.sampling.top_p = std::nan(""); },
      [](Lease& l) { l.sampling.min_p = -0.1; },
      [](Lease& l) { l.sampling.min_p = 1.5; },
      [](Lease& l) { l.sampling.min_p = std::nan(""); },
      [](Lease& l) { l.sampling.repetition_penalty = 0; },
      [](Lease& l) { l.sampling.repetition_penalty = 101; },
      [](Lease& l) { l.sampling.frequency_penalty = 2.5; },
      [](Lease& l) { l.sampling.frequency_penalty = std::nan(""); },
      [](Lease& l) { l.sampling.presence_penalty = -2.5; },
      [](Lease& l) { l.sampling.logit_bias[1].token = -1; },
      [](Lease& l) { l.sampling.logit_bias[1].token = 1 << 24; },
      [](Lease& l) { l.sampling.logit_bias[1].bias = 101; },
      [](Lease& l) { l.sampling.logit_bias[1].bias = std::nan(""); },
      [](Lease& l) { l.sampling.logit_bias.resize(kMaxLogitBiases + 1); },
      [](Lease& l) { l.sampling.max_new_tokens = 0; },
      [](Lease& l) { l.row.columns = Json::array(); },
      [](Lease& l) { l.row.messages = "text"; },
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    auto lease = small_lease();
    cases[i](lease);
    EXPECT_THROW(decode_lease(encode_lease(lease)), DataError) << i;
  }
}

TEST(LeaseCodec, RefusesMoreBiasesThanThereMayBeBeforeItReadsThem) {
  const auto lease = small_lease();
  auto bytes = encode_lease(lease);
  constexpr size_t kCount =
      1 + 8 + 4 + 8 + 8 + 1 + 8 + 1 + 8 + 7 * 8;  // what stands before the number of biases
  ASSERT_EQ(bytes[kCount], 2);
  bytes[kCount + 3] = 0x7f;

  EXPECT_THAT(message_of<DataError>([&] { decode_lease(bytes); }),
              testing::HasSubstr("2130706434 biases, at most 1024 are allowed"));
}

TEST(LeaseCodec, RefusesTheFormatWithoutBiases) {
  auto bytes = encode_lease(small_lease());
  bytes[0] = 1;

  EXPECT_THAT(message_of<DataError>([&] { decode_lease(bytes); }),
              testing::HasSubstr("lease: format 1, this program reads 3"));
}

TEST(LeaseCodec, NamesTheSamplingThatIsOutOfRange) {
  auto lease = small_lease();
  lease.sampling.logit_bias[1].bias = 300;

  EXPECT_EQ(message_of<DataError>([&] { decode_lease(encode_lease(lease)); }),
            "lease: bias 300; it goes from -100 to 100");
  EXPECT_EQ(sampling_fault({}), "");
  EXPECT_EQ(sampling_fault({.min_p = 2}), "min_p 2; it goes from 0 to 1");
}

TEST(LeaseCodec, NamesARowThatIsNoJsonText) {
  auto lease = small_lease();
  lease.row.columns["answer"] = "\xff";

  EXPECT_THAT(message_of<DataError>([&] { encode_lease(lease); }), testing::HasSubstr("train.jsonl:12"));
}

}  // namespace
}  // namespace sluice::buffers
