#include "base/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <set>
#include <thread>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace sluice {
namespace {

std::multiset<std::string> names_in(const Json& trace) {
  std::multiset<std::string> names;
  for (const auto& event : trace.at("traceEvents")) names.insert(event.at("name"));
  return names;
}

TEST(Trace, JoinsWhatAllThreadsDidDuringAStep) {
  const TempFolder folder;
  ::setenv(kTraceVariable, (folder / "trace").c_str(), 1);
  {
    const Trace trace("learner-0");
    for (const char* before : {"before", "step 1", "step 2"}) const Traced step(before);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    {
      const Traced step("step 3");
      std::jthread([] { const Traced other("of another thread"); }).join();
      const int64_t began_us = trace_clock_us();
      traced("inside", began_us);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    { const Traced after("after"); }
  }
  ::unsetenv(kTraceVariable);
  { const Traced late("of nobody"); }

  const auto trace = join_traces(folder / "trace", "step ", 3);

  EXPECT_EQ(names_in(trace),
            (std::multiset<std::string>{"inside", "of another thread", "process_name", "step 3"}));
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("ph") != "X") continue;
    EXPECT_GT(event.at("ts"), 0);
    EXPECT_GE(event.at("dur"), 0);
    EXPECT_EQ(event.at("pid"), trace.at("traceEvents").at(0).at("pid"));
  }
  EXPECT_EQ(join_traces(folder / "trace", "step ", 9), trace);  // the last it has

  folder.write("trace/of another process.jsonl", R"({"ph":"X","name":"step 7","ts":1,"dur":2,"pid":1,"tid":1}
{"ph":"X","name":"step 8","ts":4,"dur":2,"pid":1,"tid":1}
)");
  auto names = names_in(trace);
  names.insert("step 8");  // it has no third
  EXPECT_EQ(names_in(join_traces(folder / "trace", "step ", 3)), names);
  EXPECT_THROW(join_traces(folder / "trace", "stage ", 1), DataError);
}

}  // namespace
}  // namespace sluice
