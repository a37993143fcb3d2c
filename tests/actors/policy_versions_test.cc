#include "actors/internal/policy_versions.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/transport/opaque_weights.h"

namespace sluice::actors {
namespace {

buffers::Lease lease_of(int64_t version, bool exact) {
  return {.group = 1, .version = version, .exact_version = exact, .num_samples = 1};
}

// Version v has the bytes "weights v".
struct Learner {
  transport::WeightStore store;
  transport::WeightAnnouncement publish(int64_t version) {
    return store.publish(version, transport::opaque_weights("weights " + std::to_string(version)));
  }
};

TEST(PolicyVersions, FindsExactlyTheVersionOrTheNewestThatIsNotOlder) {
  Learner learner;
  PolicyVersions versions;
  EXPECT_EQ(versions.find(lease_of(0, false)), nullptr);
  for (const int64_t version : {2, 3, 5}) versions.announce(learner.publish(version));

  EXPECT_EQ(versions.find(lease_of(3, true))->bytes(), "weights 3");
  EXPECT_EQ(versions.find(lease_of(4, true)), nullptr);
  EXPECT_EQ(versions.find(lease_of(2, false))->bytes(), "weights 5");
  EXPECT_EQ(versions.find(lease_of(6, false)), nullptr);
}

TEST(PolicyVersions, MapsAgainWhatItHadLetGo) {
  Learner learner;
  PolicyVersions versions;
  for (const int64_t version : {1, 2, 3}) versions.announce(learner.publish(version));
  const std::weak_ptr<const transport::MappedWeights> one = versions.find(lease_of(1, true)),
                                                      two = versions.find(lease_of(2, true)),
                                                      three = versions.find(lease_of(3, true));

  versions.let_go({2});

  EXPECT_TRUE(one.expired());
  EXPECT_FALSE(two.expired());    // wanted
  EXPECT_FALSE(three.expired());  // the newest
  EXPECT_EQ(versions.find(lease_of(1, true))->bytes(), "weights 1");
}

TEST(PolicyVersions, SaysWhyAVersionIsNotThereOnlyWhenALeaseNamesIt) {
  Learner learner;
  PolicyVersions versions;
  versions.announce(learner.publish(1));
  const auto gone = learner.publish(2);
  learner.store.retire(3);

  versions.announce(gone);

  EXPECT_EQ(versions.find(lease_of(0, false))->version(), 1);  // 3 is on its way
  EXPECT_THROW(versions.find(lease_of(2, true)), EnvironmentError);
  EXPECT_NE(versions.describe().find("cannot open the weights of version 2"), std::string::npos);
}

TEST(PolicyVersions, KnowsALeaseThatCameTooLate) {
  Learner learner;
  PolicyVersions versions;
  const auto gone = learner.publish(1), live = learner.publish(3);
  learner.store.retire(2);
  versions.announce(gone);
  EXPECT_FALSE(
      versions.is_gone(lease_of(1, true)));  // nothing newer is there either: something else is wrong
  versions.announce(live);

  EXPECT_TRUE(versions.is_gone(lease_of(1, true)));
  EXPECT_FALSE(versions.is_gone(lease_of(1, false)));  // is sampled from 3
  EXPECT_FALSE(versions.is_gone(lease_of(2, true)));   // was not announced yet
  EXPECT_FALSE(versions.is_gone(lease_of(3, true)));
}

TEST(PolicyVersions, ToldTwiceItKeepsWhatIsMapped) {
  Learner learner;
  PolicyVersions versions;
  const auto announcement = learner.publish(1);
  versions.announce(announcement);
  const auto mapped = versions.find(lease_of(1, true));
  versions.announce(announcement);
  EXPECT_EQ(versions.find(lease_of(1, true)), mapped);
}

}  // namespace
}  // namespace sluice::actors
