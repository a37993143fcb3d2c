#include "transport/gloo_collective.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/pulse.h"
#include "tests/base/taken_port.h"
#include "tests/spawn_ranks.h"
#include "tests/transport/collective_cases.h"

namespace sluice::transport {
namespace {

using testing::ContainsRegex;
using testing::ElementsAre;
using testing::Eq;
using testing::HasSubstr;

const at::Device kCpu = at::kCPU;

TEST(GlooCollective, AddsOverTheRanks) {
  spawn_ranks(3, [](Collective& group) {
    EXPECT_EQ(group.size(), 3);
    add_over_the_ranks(group, kCpu);
  });
}

TEST(GlooCollective, GivesAllWhatEachHas) {
  spawn_ranks(3, [](Collective& group) { give_all_what_each_has(group, kCpu); });
}

TEST(GlooCollective, NamesTheRankThatDoesNotComeToABroadcast) {
  const auto run = [](Collective& group) {
    auto numbers = at::ones({5});
    if (group.rank() == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(900));
      return;
    }
    group.broadcast(numbers, /*root=*/1);
  };
  EXPECT_THAT(messages_of_ranks(2, run, /*timeout_ms=*/300).front(),
              HasSubstr("rank 0 of 2, broadcast 1 of 5 numbers: rank 1 did not come within 300 ms"));
}

TEST(GlooCollective, GivesEveryRankTheSameBitsEveryTime) {
  for (const int64_t size : {2, 3, 4}) {
    for (const auto type : {at::kFloat, at::kDouble}) {
      std::vector<at::Tensor> sums(static_cast<size_t>(size));
      spawn_ranks(size, [&](Collective& group) {
        sums[static_cast<size_t>(group.rank())] = sum_twice(group, kCpu, type);
      });
      auto expected = at::zeros({kSummed}, at::kDouble);
      for (int64_t rank = 0; rank < size; ++rank) expected += numbers_of(rank, kSummed, at::kDouble);
      for (const auto& sum : sums) {
        EXPECT_TRUE(at::equal(sum, sums.front()));
        EXPECT_TRUE(at::allclose(sum.to(at::kDouble), expected, /*rtol=*/1e-6, /*atol=*/0.5));
      }
    }
  }
}

TEST(GlooCollective, NamesTheRankThatNeverCame) {
  const TempFolder folder;
  const auto message = message_of<EnvironmentError>([&] {
    make_gloo_collective({.meeting = folder / "meeting", .rank = 0, .size = 3, .timeout_ms = 200});
  });
  EXPECT_THAT(message, HasSubstr("rank 0 of 3 waited 200 ms at " + folder.path().string()));
  EXPECT_THAT(message, HasSubstr("ranks 1, 2 did not come"));
}

TEST(GlooCollective, NamesTheRankThatDoesNotComeToASum) {
  name_the_rank_that_does_not_come_to_a_sum(at::kCPU, /*timeout_ms=*/300, make_gloo_collective);
}

TEST(GlooCollective, WaitsLongerForARankThatLives) {
  const auto run = [](Collective& group) {
    if (group.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(600));
    group.meet();
    auto one = at::ones({1});
    group.all_reduce_sum(one);
    EXPECT_EQ(one.item<double>(), 2.0);
  };
  spawn_ranks(2, run, /*timeout_ms=*/300);
}

TEST(GlooCollective, NamesTheRankThatDoesNotComeToAMeeting) {
  const auto run = [](Collective& group) {
    group.meet();
    if (group.rank() == 1) return;  // and gives no sign of life from then on
    group.meet();
  };
  const auto messages = messages_of_ranks(3, run, /*timeout_ms=*/300);
  EXPECT_THAT(messages,
              ElementsAre(Eq("rank 0 of 3 waited for rank 1, which gave no sign of life for 300 ms"), Eq(""),
                          Eq("rank 2 of 3 waited for rank 1, which gave no sign of life for 300 ms")));
}

// As one whose disk hangs: it is there, and overdue by its own words.
TEST(GlooCollective, NamesTheRankThatIsOverdue) {
  const TempFolder folder;
  keep_pulse(folder / "learner-0");
  now_doing("writes", /*limit_ms=*/200);
  const auto run = [](Collective& group) {
    if (group.rank() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1'500));
    if (group.rank() == 1) group.meet();
  };
  const auto message = message_of<Error>([&] { spawn_ranks(2, run, /*timeout_ms=*/300); });
  now_doing("");
  EXPECT_THAT(message, HasSubstr("rank 1 of 2 waited for rank 0, which gave no sign of life for 300 ms"));
}

TEST(GlooCollective, AWaitForOthersIsASignOfLife) {
  const TempFolder folder;
  keep_pulse(folder / "learner-1");
  const auto before = read_pulse(folder / "learner-1")->beats;
  const auto run = [](Collective& group) {
    if (group.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(900));
    auto one = at::ones({1});
    group.all_reduce_sum(one);
  };
  spawn_ranks(2, run, /*timeout_ms=*/3'000);  // ten beats in it
  EXPECT_GE(read_pulse(folder / "learner-1")->beats, before + 2);
}

TEST(GlooCollective, TakesSumsThatWereBegunInOneOrder) {
  spawn_ranks(3, [](Collective& group) { take_sums_that_were_begun_in_one_order(group, kCpu); });
}

// The first that fails is the one that is named, not the last that was begun.
TEST(GlooCollective, NamesTheRankThatDoesNotComeToASumBegunEarly) {
  const auto run = [](Collective& group) {
    auto one = at::ones({5}), more = at::ones({7});
    std::vector<Collective::EndSum> ends;
    ends.push_back(group.begin_sum(one));
    if (group.rank() == 2) {
      std::this_thread::sleep_for(std::chrono::milliseconds(900));
      return;
    }
    ends.push_back(group.begin_sum(more));
    ends.push_back(group.begin_sum(one));
    for (const auto& end : ends) end();
  };
  const auto messages = messages_of_ranks(3, run, /*timeout_ms=*/300);
  const std::string sum = " of 3, sum 2 of 7 numbers: rank 2 did not come";
  EXPECT_THAT(messages, ElementsAre(ContainsRegex("rank 0" + sum), ContainsRegex("rank 1" + sum), Eq("")));
}

// A process of a group, the second of which gets `signal` within the third sum, which the third of them has
// not begun by then; writes what went wrong.
[[noreturn]] void be_rank(const RankOptions& options, int signal, const std::filesystem::path& said) {
  at::set_num_threads(1);      // a process that was forked has no others
  ::signal(SIGPIPE, SIG_IGN);  // as of every role
  std::string message;
  try {
    const auto group = make_gloo_collective(options);
    auto numbers = at::ones({1 << 20});
    for (int i = 1; i <= 10; ++i) {
      if (options.rank == 2 && i == 3) std::this_thread::sleep_for(std::chrono::milliseconds(500));
      const auto end = group->begin_sum(numbers);
      if (options.rank == 1 && i == 3) ::raise(signal);
      end();
    }
  } catch (const std::exception& error) {
    message = error.what();
  }
  write_plain(said, message);
  ::_exit(0);
}

TEST(GlooCollective, EveryRankNamesTheProcessThatIsKilledOrStoppedInASum) {
  for (const int signal : {SIGKILL, SIGSTOP}) {
    SCOPED_TRACE(signal);
    const TempFolder folder;
    std::vector<pid_t> ranks;
    for (int64_t rank = 0; rank < 3; ++rank) {
      ranks.push_back(::fork());
      if (ranks.back() != 0) continue;
      be_rank({.meeting = folder / "meeting", .rank = rank, .size = 3, .timeout_ms = 2'000}, signal,
              folder / ("said-" + std::to_string(rank)));
    }
    for (const size_t rank : {0, 2, 1}) {
      if (rank == 1) ::kill(ranks[rank], SIGKILL);
      EXPECT_EQ(::waitpid(ranks[rank], nullptr, 0), ranks[rank]);
    }
    // A rank that waits for another than the second may notice it by its own time-out.
    for (const char* rank : {"0", "2"}) {
      const std::string message = read_file(folder / (std::string("said-") + rank));
      EXPECT_THAT(message,
                  ContainsRegex(std::string("^rank ") + rank +
                                " of 3, sum [34] of 1048576 numbers: rank 1 (went away|did not come)"));
    }
  }
}

// Two of three, at the port that rank 0 listens to.
TEST(GlooCollective, MeetsAtAnAddress) {
  const std::string address = "127.0.0.1:" + std::to_string(free_port());
  std::vector<std::string> told(2);
  const auto run = [&](int64_t rank) {
    at::set_num_threads(1);
    const auto group =
        make_gloo_collective({.rank = rank, .size = 2, .timeout_ms = 10'000, .address = address});
    told[static_cast<size_t>(rank)] = broadcast(*group, rank == 0 ? "bytes" : "other bytes");
  };
  { const std::jthread first(run, 0), second(run, 1); }
  EXPECT_EQ(told, std::vector<std::string>({"bytes", "bytes"}));
  EXPECT_THAT(message_of<UsageError>([] { make_gloo_collective({.size = 2, .address = "localhost"}); }),
              HasSubstr("\"localhost\" is none"));
}

// Whoever waits looks ten times a second; rank 0, which comes last, ends at once and the store with it.
TEST(GlooCollective, TheRankWithTheStoreLetsTheOthersSeeThatAWaitIsOver) {
  const std::string address = "127.0.0.1:" + std::to_string(free_port());
  const auto run = [&](int64_t rank) {
    const auto group =
        make_gloo_collective({.rank = rank, .size = 2, .timeout_ms = 10'000, .address = address});
    if (rank == 0) std::this_thread::sleep_for(std::chrono::milliseconds(400));
    EXPECT_NO_THROW(group->meet()) << "rank " << rank;
  };
  for (int i = 0; i < 5; ++i) const std::jthread first(run, 0), second(run, 1);
}

TEST(Collective, TellsAllWhatRankZeroSaysAndWhatEachSays) {
  spawn_ranks(3, tell_all_what_rank_zero_says_and_what_each_says);
  SoloCollective alone;
  EXPECT_EQ(broadcast(alone, "me"), "me");
  EXPECT_EQ(gather(alone, {1.0}), (std::vector<std::vector<double>>{{1.0}}));
  EXPECT_EQ(sum_over(alone, {1.0}), std::vector<double>{1.0});
}

TEST(GlooCollective, RefusesARankOutsideItsGroupAndATensorWithGaps) {
  EXPECT_THAT(message_of<UsageError>([] { make_gloo_collective({.meeting = "x", .rank = 2, .size = 2}); }),
              HasSubstr("rank 2 of 2"));
  spawn_ranks(1, [](Collective& group) {
    auto gaps = at::ones({4, 2}).select(1, 0);
    EXPECT_THROW(group.all_reduce_sum(gaps), Error);
  });
}

}  // namespace
}  // namespace sluice::transport
