#include "sft/held_out.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"
#include "tests/tiny_network.h"

namespace sluice::sft {
namespace {

const std::vector<Example> kExamples = {{.tokens = {3, 4, 5, 6, 2}, .weights = {0, 0, 1, 2, 1}},
                                        {.tokens = {7, 8}, .weights = {0, 1}},
                                        {.tokens = {9, 9, 1}, .weights = {0, 1, 1}}};

TEST(HeldOut, IsTheMeanOverTargetsHoweverTheyWeighAndAreCut) {
  const auto network = tiny_network();
  const auto pack = pack_examples(kExamples, 100, at::kCPU).front();
  const auto logits =
      network->scaled_logits(network->forward(pack.batch), 1.0).index_select(0, pack.targets.rows);
  const auto target = pack.targets.tokens;
  const double nll = -logits.log_softmax(1).gather(1, target.unsqueeze(1)).sum().item<double>();
  const double correct = logits.argmax(1).eq(target).sum().item<double>();
  for (const int64_t rows : {100, 1}) {
    const auto sums = held_out_sums(*network, kExamples, rows);
    EXPECT_EQ(sums.targets, 6);
    EXPECT_NEAR(sums.loss(), nll / 6, 1e-6);
    EXPECT_EQ(sums.accuracy(), correct / 6);
  }
}

TEST(HeldOut, SumsOfPartsAddUp) {
  HeldOutSums sums{.targets = 1, .nll = 2.0, .correct = 1.0};
  sums.add({.targets = 3, .nll = 4.0, .correct = 0.0});
  EXPECT_EQ(sums.loss(), 1.5);
  EXPECT_EQ(sums.accuracy(), 0.25);
  EXPECT_THROW(HeldOutSums().loss(), Error);
}

}  // namespace
}  // namespace sluice::sft
