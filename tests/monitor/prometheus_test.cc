#include "monitor/prometheus.h"

#include <gmock/gmock.h>

#include <limits>
#include <regex>
#include <set>
#include <sstream>

#include "base/files.h"

namespace sluice::monitor {
namespace {

using testing::HasSubstr;
using testing::Not;

RunStatus status() {
  return {.name = "my \"run\"\nand \\more",
          .id = "0123",
          .last = StepReport{.stage = "grpo",
                             .step = 12,
                             .stage_step = 2,
                             .stage_steps = 40,
                             .wall_time = 1000.5,
                             .metrics = {{"reward", 0.25},
                                         {"kl", std::numeric_limits<double>::quiet_NaN()},
                                         {"queue/journal_mb", 2},
                                         {"rewards/math/mean", 0.125},
                                         {"rewards/math/seconds_p95", 0.5},
                                         {"time/wait", 1.5},
                                         {"law/trained", 64},
                                         {"law/leased", 8}},
                             .alarms = {{"no_reward", "nothing", "look", 3}}},
          .state_time = 1001,
          .state = {{"queue_depth", "7"}, {"age_s", "0.5"}, {"stage", "grpo"}},
          .actors = {{"actor-0", {{"tokens", "900"}}}}};
}

TEST(Prometheus, AStepIsInBaseUnits) {
  const auto text = prometheus_text(status());
  for (const char* line :
       {"\nsluice_steps_total 12\n", "\nsluice_reward 0.25\n", "\nsluice_kl_nats NaN\n",
        "\nsluice_journal_bytes 2097152\n", "\nsluice_scorer_reward{scorer=\"math\"} 0.125\n",
        "\nsluice_scorer_duration_seconds{scorer=\"math\",quantile=\"0.95\"} 0.5\n",
        "\nsluice_step_part_duration_seconds{part=\"wait\"} 1.5\n",
        "\nsluice_groups_ended_total{fate=\"trained\"} 64\n", "\nsluice_groups{place=\"leased\"} 8\n",
        "\nsluice_queue_groups 7\n", "\nsluice_actor_tokens_total{actor=\"actor-0\"} 900\n",
        "\nsluice_alarm{rule=\"no_reward\"} 1\n", "\nsluice_alarm{rule=\"disk_low\"} 0\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(
      text,
      HasSubstr("sluice_run_info{run=\"my \\\"run\\\"\\nand \\\\more\",id=\"0123\",stage=\"grpo\"} 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("sluice_entropy")));  // it was not measured
}

// Of the exposition format: HELP and TYPE come before the samples of a family, once, and the samples lie
// together.
TEST(Prometheus, KeepsTheFormat) {
  const std::regex sample(
      R"re(([a-z_]+)(\{[a-z]+="[^"\\]*(\\.[^"\\]*)*"(,[a-z]+="[^"\\]*(\\.[^"\\]*)*")*\})? (NaN|[+-]?Inf|[-+0-9.e]+))re");
  std::set<std::string> seen;
  std::string family;
  std::istringstream lines(prometheus_text(status()));
  std::string help;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# HELP ")) {
      help = line.substr(7, line.find(' ', 7) - 7);
      EXPECT_TRUE(seen.insert(help).second) << help << " comes twice";
      continue;
    }
    if (line.starts_with("# TYPE ")) {
      family = line.substr(7, line.find(' ', 7) - 7);
      EXPECT_EQ(family, help);
      EXPECT_EQ(line.ends_with(" counter"), family.ends_with("_total")) << line;
      continue;
    }
    std::smatch match;
    ASSERT_TRUE(std::regex_match(line, match, sample)) << line;
    EXPECT_EQ(match[1], family);
  }
}

TEST(Prometheus, NamesGoByTheConventions) {
  std::set<std::string> names;
  for (const auto& name : prometheus_names()) {
    EXPECT_TRUE(std::regex_match(name, std::regex("sluice_[a-z]+(_[a-z]+)*"))) << name;
    EXPECT_TRUE(names.insert(name).second) << name;
    for (const char* unit : {"_ms", "_mb", "_kb", "_minutes"}) EXPECT_FALSE(name.ends_with(unit)) << name;
  }
}

TEST(Prometheus, ARunThatHasNotBegunIsThere) {
  EXPECT_THAT(prometheus_text({.name = "new", .id = "1"}),
              HasSubstr("sluice_run_info{run=\"new\",id=\"1\",stage=\"\"} 1"));
}

// docs/grafana.json asks for nothing that there is not, and labels it by what it has.
TEST(Prometheus, TheDashboardAsksForWhatThereIs) {
  const auto dashboard = read_file(std::string(SLUICE_SOURCE_DIR) + "/docs/grafana.json");
  const auto known = prometheus_names();
  const std::regex name("sluice_[a-z_]+");
  std::set<std::string> used;
  for (auto at = std::sregex_iterator(dashboard.begin(), dashboard.end(), name); at != std::sregex_iterator();
       ++at) {
    used.insert(at->str());
    EXPECT_EQ(std::ranges::count(known, at->str()), 1) << at->str();
  }
  EXPECT_GT(used.size(), 15);
  EXPECT_NO_THROW(parse_json(dashboard, "grafana.json"));
}

}  // namespace
}  // namespace sluice::monitor
