#include "transport/handshake.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace sluice::transport {
namespace {

Identity actor() {
  return {.run = "run-1",
          .tokenizer_hash = "t1",
          .model_hash = "m1",
          .template_hash = "c1",
          .rewards_hash = "r1",
          .role = "actor",
          .name = "actor-0",
          .incarnation = 18446744073709551615u,
          .pid = 42};
}

TEST(Handshake, AnIdentityComesBackAsItWas) {
  const auto back = decode_identity(encode_identity(actor()));

  EXPECT_EQ(back.protocol, 3);
  EXPECT_EQ(back.run, "run-1");
  EXPECT_EQ(back.tokenizer_hash, "t1");
  EXPECT_EQ(back.model_hash, "m1");
  EXPECT_EQ(back.template_hash, "c1");
  EXPECT_EQ(back.rewards_hash, "r1");
  EXPECT_EQ(back.role, "actor");
  EXPECT_EQ(back.name, "actor-0");
  EXPECT_EQ(back.incarnation, 18446744073709551615u);
  EXPECT_EQ(back.pid, 42);
}

TEST(Handshake, RefusesAnIdentityThatDoesNotHoldTogether) {
  EXPECT_THROW(decode_identity(""), DataError);
  EXPECT_THROW(decode_identity("{}"), DataError);
  EXPECT_THROW(decode_identity(std::string(1 << 20, '[')), DataError);

  auto identity = actor();
  identity.name = "a\nb";
  EXPECT_THROW(decode_identity(encode_identity(identity)), DataError);
  identity.name = "";
  EXPECT_THROW(decode_identity(encode_identity(identity)), DataError);
  identity.name = std::string(65, 'a');
  EXPECT_THROW(decode_identity(encode_identity(identity)), DataError);
}

TEST(Handshake, OfAnotherProtocolReadsWhatTellsWhoItIsAlone) {
  const auto other = decode_identity(R"({"protocol": 1, "name": "actor-3", "tokenizer": "as it was once"})");
  EXPECT_EQ(other.protocol, 1);
  EXPECT_EQ(other.name, "actor-3");
  EXPECT_NE(refusal(actor(), other).find("the learner has 3, the actor has 1"), std::string::npos);
}

TEST(Handshake, LetsTheSameRunModelAndTokenizerJoin) { EXPECT_EQ(refusal(actor(), actor()), ""); }

TEST(Handshake, NamesBothValuesOfWhatDiffers) {
  auto other = actor();
  other.tokenizer_hash = "t2";
  EXPECT_EQ(
      refusal(actor(), other),
      "the tokenizer differs: the learner has t1, the actor has t2; give both the same model directory");

  other = actor();
  other.model_hash = "";
  EXPECT_EQ(refusal(actor(), other),
            "the model differs: the learner has m1, the actor has none; give both the same model directory");

  other = actor();
  other.protocol = 1;
  EXPECT_EQ(
      refusal(actor(), other),
      "the protocol differs: the learner has 3, the actor has 1; start both from the same build of sluice");

  other = actor();
  other.template_hash = "";
  EXPECT_EQ(refusal(actor(), other),
            "the chat template differs: the learner has c1, the actor has none; give both the same model "
            "directory");

  other = actor();
  other.rewards_hash = "r2";
  EXPECT_EQ(refusal(actor(), other),
            "the reward configuration differs: the learner has r1, the actor has r2; give both the "
            "recipe.resolved.json of the run");

  other = actor();
  other.run = "run-2";
  EXPECT_NE(refusal(actor(), other).find("the learner has run-1, the actor has run-2"), std::string::npos);

  other = actor();
  other.role = "scorer";
  EXPECT_EQ(refusal(actor(), other), "only an actor may join here, this is \"scorer\"");
}

}  // namespace
}  // namespace sluice::transport
