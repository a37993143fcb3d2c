#include "transport/gloo_collective.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/philox.h"
#include "base/pulse.h"
#include "tests/spawn_ranks.h"

namespace sluice::transport {
namespace {

using testing::HasSubstr;

// Numbers whose sum depends on the order in which they are added.
at::Tensor numbers_of(int64_t rank, int64_t count, at::ScalarType type) {
  auto values = at::empty({count}, at::kDouble);
  for (int64_t i = 0; i < count; ++i) {
    const double uniform =
        random_uniform(/*seed=*/3, RandomUse::Data, static_cast<uint64_t>(rank), 0, static_cast<uint64_t>(i));
    values[i] = (uniform - 0.5) * (i % 3 == 0 ? 1e6 : 1.0);
  }
  return values.to(type);
}

TEST(GlooCollective, AddsOverTheRanks) {
  spawn_ranks(3, [](Collective& group) {
    auto counts = at::tensor({1, 10, 100}, at::kLong) * (group.rank() + 1);
    group.all_reduce_sum(counts);
    EXPECT_EQ(group.size(), 3);
    EXPECT_TRUE(at::equal(counts, at::tensor({6, 60, 600}, at::kLong)));  // 1 + 2 + 3 times each
  });
}

TEST(GlooCollective, GivesEveryRankTheSameBitsEveryTime) {
  constexpr int64_t kCount = 1003;
  for (const int64_t size : {2, 3, 4}) {
    for (const auto type : {at::kFloat, at::kDouble}) {
      std::vector<at::Tensor> sums(static_cast<size_t>(size));
      spawn_ranks(size, [&](Collective& group) {
        auto sum = numbers_of(group.rank(), kCount, type);
        group.all_reduce_sum(sum);
        auto again = numbers_of(group.rank(), kCount, type);
        group.all_reduce_sum(again);
        EXPECT_TRUE(at::equal(sum, again));
        sums[static_cast<size_t>(group.rank())] = sum;
      });
      auto expected = at::zeros({kCount}, at::kDouble);
      for (int64_t rank = 0; rank < size; ++rank) expected += numbers_of(rank, kCount, at::kDouble);
      for (const auto& sum : sums) {
        EXPECT_TRUE(at::equal(sum, sums.front()));
        EXPECT_TRUE(at::allclose(sum.to(at::kDouble), expected, /*rtol=*/1e-6, /*atol=*/0.5));
      }
    }
  }
}

TEST(GlooCollective, NamesTheRankThatNeverCame) {
  const TempFolder folder;
  const auto message = message_of<EnvironmentError>(
      [&] { GlooCollective({.meeting = folder / "meeting", .rank = 0, .size = 3, .timeout_ms = 200}); });
  EXPECT_THAT(message, HasSubstr("rank 0 of 3 waited 200 ms at " + folder.path().string()));
  EXPECT_THAT(message, HasSubstr("ranks 1, 2 did not come"));
}

TEST(GlooCollective, NamesTheRankThatDoesNotComeToASum) {
  const auto run = [](Collective& group) {
    auto one = at::ones({5});
    group.all_reduce_sum(one);
    if (group.rank() == 1) {  // there, and busy with something else
      std::this_thread::sleep_for(std::chrono::milliseconds(900));
      return;
    }
    group.all_reduce_sum(one);
  };
  const auto message = message_of<Error>([&] { spawn_ranks(2, run, /*timeout_ms=*/300); });
  EXPECT_THAT(message, HasSubstr("rank 0 of 2, sum 2 of 5 numbers: rank 1 did not come within 300 ms"));
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
  EXPECT_THAT(message_of<Error>([&] { spawn_ranks(3, run, /*timeout_ms=*/300); }),
              HasSubstr("rank 0 of 3 waited for rank 1, which gave no sign of life for 300 ms"));
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
  spawn_ranks(3, [](Collective& group) {
    std::vector<at::Tensor> tensors;
    std::vector<Collective::EndSum> ends;
    for (int64_t i = 0; i < 20; ++i) {
      tensors.push_back(at::full({1 + 100 * i}, i + group.rank(), at::kDouble));
      ends.push_back(group.begin_sum(tensors.back()));
    }
    EXPECT_THROW(group.meet(), Error);
    EXPECT_THROW(group.all_reduce_sum(tensors.front()), Error);
    for (const auto& end : ends) end();
    for (int64_t i = 0; i < 20; ++i) {  // 3 i + 0 + 1 + 2
      EXPECT_TRUE(tensors[static_cast<size_t>(i)].eq(3 * i + 3).all().item<bool>()) << i;
    }
    group.meet();
  });
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
  const auto message = message_of<Error>([&] { spawn_ranks(3, run, /*timeout_ms=*/300); });
  EXPECT_THAT(message, HasSubstr("rank 0 of 3, sum 2 of 7 numbers: rank 2 did not come within 300 ms"));
}

// Two of three, at the port that rank 0 listens to.
TEST(GlooCollective, MeetsAtAnAddress) {
  const std::string address = "127.0.0.1:" + std::to_string(20'000 + ::getpid() % 20'000);
  std::vector<std::string> told(2);
  const auto run = [&](int64_t rank) {
    at::set_num_threads(1);
    GlooCollective group({.rank = rank, .size = 2, .timeout_ms = 10'000, .address = address});
    told[static_cast<size_t>(rank)] = broadcast(group, rank == 0 ? "bytes" : "other bytes");
  };
  { const std::jthread first(run, 0), second(run, 1); }
  EXPECT_EQ(told, std::vector<std::string>({"bytes", "bytes"}));
  EXPECT_THAT(message_of<UsageError>([] { GlooCollective({.size = 2, .address = "localhost"}); }),
              HasSubstr("\"localhost\" is none"));
}

// Whoever waits looks ten times a second; rank 0, which comes last, ends at once and the store with it.
TEST(GlooCollective, TheRankWithTheStoreLetsTheOthersSeeThatAWaitIsOver) {
  const std::string address = "127.0.0.1:" + std::to_string(20'000 + (::getpid() + 1) % 20'000);
  const auto run = [&](int64_t rank) {
    GlooCollective group({.rank = rank, .size = 2, .timeout_ms = 10'000, .address = address});
    if (rank == 0) std::this_thread::sleep_for(std::chrono::milliseconds(400));
    EXPECT_NO_THROW(group.meet()) << "rank " << rank;
  };
  for (int i = 0; i < 5; ++i) const std::jthread first(run, 0), second(run, 1);
}

TEST(Collective, TellsAllWhatRankZeroSaysAndWhatEachSays) {
  spawn_ranks(3, [](Collective& group) {
    const std::string bytes("a\0b\xff", 4);
    EXPECT_EQ(broadcast(group, group.rank() == 0 ? bytes : "nothing"), bytes);
    EXPECT_EQ(broadcast(group, ""), "");
    const auto rank = static_cast<double>(group.rank());
    const auto all = gather(group, {rank, 0.1});
    EXPECT_EQ(all, (std::vector<std::vector<double>>{{0.0, 0.1}, {1.0, 0.1}, {2.0, 0.1}}));
    const auto sums = sum_over(group, {rank, 1.0});
    EXPECT_EQ(sums, std::vector<double>({3.0, 3.0}));  // 0 + 1 + 2 and three times 1
  });
  SoloCollective alone;
  EXPECT_EQ(broadcast(alone, "me"), "me");
  EXPECT_EQ(gather(alone, {1.0}), (std::vector<std::vector<double>>{{1.0}}));
  EXPECT_EQ(sum_over(alone, {1.0}), std::vector<double>{1.0});
}

TEST(GlooCollective, RefusesARankOutsideItsGroupAndATensorWithGaps) {
  EXPECT_THAT(message_of<UsageError>([] { GlooCollective({.meeting = "x", .rank = 2, .size = 2}); }),
              HasSubstr("rank 2 of 2"));
  spawn_ranks(1, [](Collective& group) {
    auto gaps = at::ones({4, 2}).select(1, 0);
    EXPECT_THROW(group.all_reduce_sum(gaps), Error);
  });
}

}  // namespace
}  // namespace sluice::transport
