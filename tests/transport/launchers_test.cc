#include "transport/launchers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <string>

#include "base/error.h"
#include "tests/base/temp_folder.h"
#include "tests/transport/launched.h"

namespace sluice::transport {
namespace {

using testing::HasSubstr;

RankOptions launched(const std::map<std::string, std::string>& environment,
                     std::optional<int64_t> rank = std::nullopt) {
  const Launched process(environment);
  return rank_options(rank, "meeting");
}

TEST(Launchers, ARankThatIsNamedMeetsAtTheFileWhateverTheEnvironmentSays) {
  const auto options = launched({{"RANK", "3"}, {"WORLD_SIZE", "4"}}, /*rank=*/1);
  EXPECT_EQ(options.rank, 1);
  EXPECT_EQ(options.size, 0);  // the recipe's
  EXPECT_EQ(options.meeting, "meeting");
  EXPECT_EQ(options.address, "");
  EXPECT_EQ(launched({}).rank, 0);
  EXPECT_EQ(launched({}).meeting, "meeting");
}

TEST(Launchers, TorchrunAndSlurmSayWhichRankItIsAndWhereItMeetsTheOthers) {
  const auto torchrun =
      launched({{"RANK", "3"}, {"WORLD_SIZE", "4"}, {"MASTER_ADDR", "node-1"}, {"MASTER_PORT", "1234"}});
  EXPECT_EQ(torchrun.rank, 3);
  EXPECT_EQ(torchrun.size, 4);
  EXPECT_EQ(torchrun.address, "node-1:1234");
  const auto slurm = launched({{"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "2"}, {"SLURM_NNODES", "1"}});
  EXPECT_EQ(slurm.rank, 1);
  EXPECT_EQ(slurm.size, 2);
  EXPECT_EQ(slurm.address, "127.0.0.1:29500");
}

TEST(Launchers, ATorchrunThatSlurmStartedKnowsBetter) {
  const auto options =
      launched({{"RANK", "5"}, {"WORLD_SIZE", "8"}, {"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "2"}});
  EXPECT_EQ(options.rank, 5);
  EXPECT_EQ(options.size, 8);
}

TEST(Launchers, RefuseRanksOfSlurmOnSeveralNodesThatNobodyToldWhereTheyMeet) {
  std::map<std::string, std::string> environment{
      {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "2"}, {"SLURM_NNODES", "2"}};
  const auto message = message_of<UsageError>([&] { launched(environment); });
  EXPECT_THAT(message, HasSubstr("ranks on 2 nodes, and nobody says where they meet"));
  EXPECT_THAT(message, HasSubstr("export MASTER_ADDR="));
  environment["MASTER_ADDR"] = "node-1";
  EXPECT_EQ(launched(environment).address, "node-1:29500");
}

TEST(Launchers, RefuseWhatIsNoNumber) {
  EXPECT_THAT(message_of<UsageError>([] {
                launched({{"RANK", "one"}, {"WORLD_SIZE", "2"}});
              }),
              HasSubstr("the environment's RANK is \"one\", which is no number"));
  EXPECT_THROW(launched({{"RANK", "-1"}, {"WORLD_SIZE", "2"}}), UsageError);
  EXPECT_THROW(launched({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "2(x3)"}}), UsageError);
}

// The GPUs that a rank still sees, or "all".
std::string gpus_of(const RankOptions& options, const std::map<std::string, std::string>& environment) {
  const Launched process(environment);
  keep_own_gpu(options);
  const char* kept = std::getenv("CUDA_VISIBLE_DEVICES");
  return kept == nullptr ? "all" : kept;
}

TEST(KeepOwnGpu, IsTheOneOfTheRanksNumberAmongThoseThatItSees) {
  EXPECT_EQ(gpus_of({.rank = 0}, {}), "0");
  EXPECT_EQ(gpus_of({.rank = 2}, {}), "2");
  EXPECT_EQ(gpus_of({.rank = 1}, {{"CUDA_VISIBLE_DEVICES", "4,6"}}), "6");
  EXPECT_EQ(gpus_of({.rank = 1}, {{"CUDA_VISIBLE_DEVICES", "GPU-3f2a,MIG-77b1"}}), "MIG-77b1");
}

TEST(KeepOwnGpu, IsOfTheRanksNumberOnItsMachine) {
  const RankOptions sixth{.rank = 5, .size = 8, .address = "node-1:29500"};
  EXPECT_EQ(gpus_of(sixth, {{"LOCAL_RANK", "1"}}), "1");
  EXPECT_EQ(gpus_of(sixth, {{"SLURM_LOCALID", "1"}, {"CUDA_VISIBLE_DEVICES", "4,6"}}), "6");
  // `sluice run` numbers its own, whoever started it.
  EXPECT_EQ(gpus_of({.rank = 2, .size = 4}, {{"LOCAL_RANK", "1"}, {"SLURM_LOCALID", "0"}}), "2");
}

// Slurm starts a torchrun on each node, and all ranks of it have its SLURM_LOCALID.
TEST(KeepOwnGpu, IsTorchrunsWhereSlurmStartedIt) {
  EXPECT_EQ(gpus_of({.rank = 5, .size = 8, .address = "node-1:29500"},
                    {{"LOCAL_RANK", "1"}, {"SLURM_LOCALID", "0"}}),
            "1");
}

TEST(KeepOwnGpu, LeavesARankThatSeesFewerWhatItSees) {
  EXPECT_EQ(gpus_of({.rank = 1}, {{"CUDA_VISIBLE_DEVICES", "4"}}), "4");
  EXPECT_EQ(gpus_of({.rank = 0}, {{"CUDA_VISIBLE_DEVICES", ""}}), "");  // GPUs are hidden from it
  EXPECT_EQ(gpus_of({.rank = 1}, {{"CUDA_VISIBLE_DEVICES", ""}}), "");
  EXPECT_EQ(gpus_of({.rank = 1}, {{"CUDA_VISIBLE_DEVICES", "-1"}}), "-1");
}

}  // namespace
}  // namespace sluice::transport
