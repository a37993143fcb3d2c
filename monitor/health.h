// Why nothing is learned, said before an hour is lost: rules that look at the steps of a run and raise
// alarms.
//
// They warn of what may still come right. What ends a run because its numbers are lost is learner/guards.h.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "monitor/step_report.h"

namespace sluice::monitor {

// The steps of one stage as far as the rules look back.
class StageSteps {
 public:
  static constexpr size_t kFirst = 10, kLast = 64;

  void add(const StepReport& report);

  // The values of a metric over the last `count` steps; empty when there are fewer, or half of them lack it.
  std::vector<double> last(const std::string& metric, int64_t count) const;
  // The same of the first kFirst.
  std::vector<double> first(const std::string& metric) const;
  const StepReport& newest() const { return last_.back(); }

  // A measurement of held-out prompts, eval_exact of eval_prompts, beside what training earned since the one
  // before.
  struct HeldOut {
    double exact = 0, prompts = 0;
    double reward = 0, spread = 0;  // means of `reward` and `reward_std`
  };
  const std::deque<HeldOut>& held_out() const { return held_out_; }

 private:
  void add_held_out(const StepReport& report);

  std::vector<StepReport> first_;
  std::deque<StepReport> last_;
  std::deque<HeldOut> held_out_;      // at most kLast
  double rewards_ = 0, spreads_ = 0;  // sums since the newest of them,
  int64_t rewarded_ = 0;              // of so many steps
};

struct HealthRule {
  std::string name;
  double limit = 0;
  int64_t steps = 0;       // that it looks at
  std::string when;        // it is raised: words with {limit} and {steps}
  std::string suggestion;  // {limit} and {steps} likewise
  // What is seen after the newest step, with the numbers; "" when all is well.
  std::string (*see)(const HealthRule& rule, const StageSteps& steps);
};

// All of them, in the order of docs/monitoring.md.
const std::vector<HealthRule>& health_rules();
// The table of that page.
std::string health_reference();

// Is told every step of a run in order.
class HealthWatch {
 public:
  // An alarm ends after so many steps without what raised it: numbers around a limit are one alarm, not ten.
  static constexpr int64_t kCalmSteps = 20;

  // Without the rules named. Throws UsageError with the nearest name for one that there is not.
  explicit HealthWatch(std::vector<std::string> off = {});

  // The alarms that stand after this step, in the order of the rules. The first step of another stage leaves
  // those of the stage before behind.
  const std::vector<Alarm>& after(const StepReport& report);
  // Those of them that this step raised.
  std::vector<Alarm> raised() const;

 private:
  struct Standing {
    Alarm alarm;
    int64_t calm_steps = 0;
  };

  const std::vector<std::string> off_;
  std::string stage_;
  int64_t step_ = 0;
  StageSteps steps_;
  std::map<std::string, Standing> standing_;  // by the rule's name
  std::vector<Alarm> alarms_;
};

// Throws UsageError "WHO: there is no health rule \"...\"; ..." for a name that is none.
void check_health_rules(const std::vector<std::string>& names, const std::string& who);

}  // namespace sluice::monitor
