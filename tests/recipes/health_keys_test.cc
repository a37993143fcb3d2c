// What the health rules tell people to change is there to be changed.
#include <gtest/gtest.h>

#include <regex>

#include "monitor/health.h"
#include "recipes/schema.h"

namespace sluice::recipes {
namespace {

TEST(HealthKeys, ASuggestionNamesKeysThatThereAre) {
  const std::regex key(R"(\b(data|rollout|algorithm|optim|guard|learner|batch|checkpoint)\.([a-z_]+))");
  int64_t seen = 0;
  for (const auto& rule : monitor::health_rules()) {
    for (auto at = std::sregex_iterator(rule.suggestion.begin(), rule.suggestion.end(), key);
         at != std::sregex_iterator(); ++at, ++seen) {
      EXPECT_NE(find_key((*at)[1].str(), (*at)[2].str()), nullptr) << rule.name << ": " << at->str();
    }
  }
  EXPECT_GT(seen, 20);
}

}  // namespace
}  // namespace sluice::recipes
