#include "transport/internal/meeting.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "base/error.h"
#include "tests/base/temp_folder.h"
#include "tests/transport/launched.h"

namespace sluice::transport::internal {
namespace {

using testing::HasSubstr;

// What torchrun's agent listens with, at a port that was free.
class Agent {
 public:
  std::string address() const { return "127.0.0.1:" + std::to_string(store_->getPort()); }

 private:
  static c10d::TCPStoreOptions listening() {
    c10d::TCPStoreOptions options;
    options.port = 0;
    options.isServer = true;
    options.waitWorkers = false;
    return options;
  }
  const c10::intrusive_ptr<c10d::TCPStore> store_ =
      c10::make_intrusive<c10d::TCPStore>("127.0.0.1", listening());
};

RankOptions at_agent(const Agent& agent, int64_t rank, Millis timeout_ms) {
  return {.rank = rank, .size = 2, .timeout_ms = timeout_ms, .address = agent.address()};
}

Launched attempt(const std::string& number) {
  return Launched({{"TORCHELASTIC_USE_AGENT_STORE", "True"}, {"TORCHELASTIC_RESTART_COUNT", number}});
}

TEST(Meeting, IsAtTheStoreOfTorchrunsAgent) {
  const Agent agent;
  for (const char* number : {"0", "1"}) {  // the store knows the ranks of the first attempt in the second
    const auto environment = attempt(number);
    const auto run = [&](int64_t rank) {
      EXPECT_NO_THROW(Meeting(at_agent(agent, rank, 10'000)).wait_for_all()) << "rank " << rank;
    };
    const std::jthread first(run, 0), second(run, 1);
  }
}

TEST(Meeting, DoesNotTakeARankOfTheAttemptBeforeForOneThatHasCome) {
  const Agent agent;
  {
    const auto environment = attempt("0");
    const auto run = [&](int64_t rank) { Meeting(at_agent(agent, rank, 10'000)); };
    const std::jthread first(run, 0), second(run, 1);
  }
  const auto environment = attempt("1");
  const auto message = message_of<EnvironmentError>([&] { Meeting(at_agent(agent, 0, 300)); });
  EXPECT_THAT(message,
              HasSubstr("rank 0 of 2 waited 300 ms at " + agent.address() + ": rank 1 did not come"));
}

// A rank 0 that is told of no agent listens itself, and the port is taken.
TEST(Meeting, SaysWhereRankZeroCannotListen) {
  const Agent agent;
  const Launched environment({});
  const auto message = message_of<EnvironmentError>([&] { Meeting(at_agent(agent, 0, 300)); });
  EXPECT_THAT(message, HasSubstr("rank 0 of 2 waited 300 ms at " + agent.address()));
  EXPECT_THAT(message, HasSubstr("EADDRINUSE"));
}

}  // namespace
}  // namespace sluice::transport::internal
