#include "recipes/internal/out_of_memory.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>

#include "base/error.h"
#include "base/pulse.h"
#include "model/large_tensor.h"

namespace sluice::recipes::internal {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr int64_t kNoAddressHas = int64_t{1} << 50;

std::string what_is_said(const std::string& advice, const std::function<int()>& work) {
  try {
    with_memory_advice(advice, work);
  } catch (const EnvironmentError& error) {
    return error.what();
  }
  return "nothing";
}

TEST(OutOfMemory, SaysWhatWasDoneWhatWasWantedAndWhatToMakeSmaller) {
  now_doing("grpo step 3: learns");
  StageSpec stage;
  stage.batch.micro_batch_tokens = 4096;
  const auto text = what_is_said(stage_memory_advice(stage, /*has_adapters=*/false),
                                 [] { return at::empty({kNoAddressHas}, at::kByte).dim() > 0 ? 0 : 1; });
  EXPECT_THAT(text, HasSubstr("grpo step 3: learns: out of memory, "));
  EXPECT_THAT(text, HasSubstr("more were asked for"));
  EXPECT_THAT(text, HasSubstr("smaller is batch.micro_batch_tokens, now 4096, or set "
                              "batch.gradient_checkpointing = true"));
  EXPECT_THAT(text, HasSubstr("`sluice check`"));
}

TEST(OutOfMemory, KnowsThatOfTheStandardLibraryToo) {
  const auto text = what_is_said("smaller is this", []() -> int { throw std::bad_alloc(); });
  EXPECT_THAT(text, HasSubstr("out of memory; this process had "));
  EXPECT_THAT(text, HasSubstr("smaller is this"));
}

// Weights, gradients, moments and packed copies.
TEST(OutOfMemory, KnowsThatOfTheLargestTensors) {
  const auto text = what_is_said("smaller is this", [] {
    return model::large_tensor(kNoAddressHas, at::TensorOptions(at::kByte)).dim() > 0 ? 0 : 1;
  });
  EXPECT_THAT(text, HasSubstr("out of memory; this process had "));
  EXPECT_THAT(text, HasSubstr("smaller is this"));
}

TEST(OutOfMemory, KnowsThatOfADevice) {
  const auto text = what_is_said("smaller is this", []() -> int {
    TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory. Tried to allocate 2.00 GiB");
  });
  EXPECT_THAT(text,
              HasSubstr("out of memory, CUDA out of memory. Tried to allocate 2.00 GiB; this process had "));
  EXPECT_THAT(text, HasSubstr("smaller is this"));
}

TEST(OutOfMemory, NamesWhatIsNotSetYet) {
  StageSpec stage;
  stage.batch.gradient_checkpointing = true;
  EXPECT_THAT(stage_memory_advice(stage, /*has_adapters=*/false), Not(HasSubstr("gradient_checkpointing")));
  const std::string offload = "learner.offload_reference = true";
  EXPECT_THAT(stage_memory_advice(stage, /*has_adapters=*/false), Not(HasSubstr(offload)));  // there is none
  stage.learner.loss.beta = 0.1;
  EXPECT_THAT(stage_memory_advice(stage, /*has_adapters=*/false), HasSubstr(offload));
  EXPECT_THAT(stage_memory_advice(stage, /*has_adapters=*/true), Not(HasSubstr(offload)));
  stage.offloads_reference = true;
  EXPECT_THAT(stage_memory_advice(stage, /*has_adapters=*/false), Not(HasSubstr(offload)));
  stage.rollout.actors = 3;
  EXPECT_THAT(actor_memory_advice(stage), HasSubstr("rollout.actors, now 3"));
}

TEST(OutOfMemory, LeavesOtherErrorsAlone) {
  EXPECT_EQ(with_memory_advice("", [] { return 7; }), 7);
  EXPECT_THROW(with_memory_advice("", []() -> int { fail("something else"); }), Error);
  EXPECT_THROW(with_memory_advice("", [] { return at::zeros({2}).view({3}).dim() > 0 ? 0 : 1; }), c10::Error);
}

}  // namespace
}  // namespace sluice::recipes::internal
