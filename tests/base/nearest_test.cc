#include "base/nearest.h"

#include <gtest/gtest.h>

#include <vector>

namespace sluice {
namespace {

const std::vector<std::string> kKeys = {"learning_rate", "group_size", "seed", "steps"};

TEST(EditDistance, CountsInsertionsDeletionsAndReplacements) {
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("abc", ""), 3);
  EXPECT_EQ(edit_distance("same", "same"), 0);
}

TEST(Nearest, FindsATypoAndNothingFarAway) {
  EXPECT_EQ(nearest("learing_rate", kKeys), "learning_rate");
  EXPECT_EQ(nearest("groupsize", kKeys), "group_size");
  EXPECT_EQ(nearest("sed", kKeys), "seed");
  EXPECT_EQ(nearest("temperature", kKeys), "");
}

TEST(Nearest, FindsWhatAWordIsShortFor) {
  EXPECT_EQ(nearest("learning", kKeys), "learning_rate");
  EXPECT_EQ(nearest("size", kKeys), "group_size");
  EXPECT_EQ(nearest("ize", kKeys), "");  // no word of it
  EXPECT_EQ(nearest("gr", kKeys), "");
  EXPECT_EQ(nearest("step", kKeys), "steps");  // a typo is nearer
}

TEST(Nearest, EndsAMessageWithWhatWasMeant) {
  EXPECT_EQ(did_you_mean("sed", kKeys), "; did you mean \"seed\"?");
  EXPECT_EQ(did_you_mean("temperature", kKeys), "");
  EXPECT_EQ(did_you_mean("temperature", kKeys, "; there are four"), "; there are four");
  EXPECT_EQ(did_you_mean("sed", kKeys, "; there are four"), "; did you mean \"seed\"?");
}

}  // namespace
}  // namespace sluice
