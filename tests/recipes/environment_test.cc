#include "recipes/internal/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::recipes::internal {
namespace {

using testing::IsEmpty;
using testing::UnorderedElementsAre;

TEST(Environment, IsTheSameEachTimeAndNamesEachDifference) {
  Recipe recipe;
  recipe.device = "cpu";
  const Json here = environment(recipe);
  EXPECT_THAT(differences(here, environment(recipe)), IsEmpty());
  EXPECT_EQ(here.at("program").get<std::string>().size(), 64u);

  Json there = here;
  there["vectors"] = "AVX9000";
  there.erase("accelerator");
  EXPECT_THAT(differences(there, here),
              UnorderedElementsAre("accelerator is \"none\", it was null",
                                   "vectors is " + here.at("vectors").dump() + ", it was \"AVX9000\""));
}

}  // namespace
}  // namespace sluice::recipes::internal
