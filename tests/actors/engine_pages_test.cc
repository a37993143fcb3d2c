// The engine's cache: what is shared, what happens when it runs out, and that a token costs no allocation.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <new>
#include <string>

#include "actors/engine.h"
#include "base/error.h"
#include "base/philox.h"
#include "model/model_directory.h"

namespace {

std::atomic<bool> counting = false;
std::atomic<int64_t> allocations = 0;

void* allocate(std::size_t size) {
  if (counting) ++allocations;
  if (void* const memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  if (counting) ++allocations;
  return std::malloc(size);
}
void* operator new[](std::size_t size, const std::nothrow_t& nothrow) noexcept {
  return operator new(size, nothrow);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace sluice::actors {
namespace {

std::unique_ptr<model::Network> frozen_network() {
  auto network = model::load_model(SLUICE_SOURCE_DIR "/data/goldens/llama", at::kCPU);
  network->freeze();
  return network;
}

GenerationRequest request_of(const model::Network& network, uint64_t i, int64_t prompt, int64_t num_samples,
                             int64_t max_new_tokens) {
  GenerationRequest request{
      .id = i,
      .num_samples = num_samples,
      .seed = 5,
      .group = i,
      .sampling = {.temperature = 0.8, .top_p = 0.95, .max_new_tokens = max_new_tokens}};
  for (int64_t t = 0; t < prompt; ++t) {
    request.prompt.push_back(
        static_cast<int32_t>(random_bits(3, RandomUse::Data, i, static_cast<uint64_t>(t)) %
                             static_cast<uint64_t>(network.config().vocab_size)));
  }
  return request;
}

using Results = std::map<uint64_t, std::vector<buffers::Completion>>;

Results run(Engine& engine) {
  Results results;
  for (int step = 0; !engine.idle(); ++step) {
    EXPECT_LT(step, 10'000) << "no end";
    if (step == 10'000) break;
    for (auto& result : engine.step(/*version=*/0)) results.emplace(result.id, std::move(result.completions));
  }
  return results;
}

void expect_same(const Results& a, const Results& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [id, completions] : a) {
    const auto& others = b.at(id);
    ASSERT_EQ(completions.size(), others.size());
    for (size_t s = 0; s < completions.size(); ++s) {
      EXPECT_EQ(completions[s].tokens, others[s].tokens) << "group " << id << ", sample " << s;
      EXPECT_EQ(completions[s].logprobs, others[s].logprobs) << "group " << id << ", sample " << s;
      EXPECT_EQ(completions[s].kept_mass, others[s].kept_mass);
    }
  }
}

// Prompts and completions of many lengths, pages that run out again and again: not a bit is different.
TEST(EnginePages, ACompletionThatGaveUpItsPagesGoesOnAsIfNothingHadBeen) {
  const auto network = frozen_network();
  std::vector<GenerationRequest> requests;
  for (uint64_t i = 0; i < 9; ++i)
    requests.push_back(request_of(*network, i, /*prompt=*/1 + static_cast<int64_t>(i * 7 % 40),
                                  /*num_samples=*/4,
                                  /*max_new_tokens=*/20 + static_cast<int64_t>(i * 5 % 30)));
  Results roomy;
  for (const int64_t cache_tokens : {0, 400, 200, 112}) {
    for (const int threads : {1, 2}) {
      SCOPED_TRACE(std::to_string(cache_tokens) + " tokens, " + std::to_string(threads) + " threads");
      Engine engine(*network, {}, {.max_rows = 12, .cache_tokens = cache_tokens, .threads = threads});
      EXPECT_TRUE(engine.mixes_groups());
      for (const auto& request : requests) engine.submit(request);
      auto results = run(engine);
      if (roomy.empty())
        roomy = std::move(results);
      else
        expect_same(results, roomy);
      EXPECT_EQ(engine.num_preempted() > 0, cache_tokens > 0) << engine.num_preempted();
    }
  }
}

// A prompt of 40 tokens is two pages and a half: with 8 samples of 8 tokens, 2 + 8 pages and the prompt's
// own.
TEST(EnginePages, TheSamplesOfAGroupShareTheirPrompt) {
  const auto network = frozen_network();
  Engine engine(*network, {}, {.max_rows = 8, .cache_tokens = 16 * 11});
  engine.submit(request_of(*network, 0, 40, 8, 8));

  const auto results = run(engine);

  EXPECT_EQ(results.at(0).size(), 8);
  EXPECT_EQ(engine.num_preempted(), 0);
}

TEST(EnginePages, AGroupLargerThanTheCacheWaitsForItself) {
  const auto network = frozen_network();
  Engine small(*network, {}, {.max_rows = 16, .cache_tokens = 16 * 6}), large(*network, {}, {});
  const auto request = request_of(*network, 3, 40, 16, 30);  // 70 tokens: 5 pages, and one for the copy
  small.submit(request);
  large.submit(request);
  expect_same(run(small), run(large));
}

TEST(EnginePages, ASequenceThatNeverFitsIsRefused) {
  const auto network = frozen_network();
  Engine engine(*network, {}, {.cache_tokens = 16 * 5});
  try {
    engine.submit(request_of(*network, 3, 40, 1, 30));
    FAIL() << "taken";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("it needs a cache of 96 tokens, this one has room for 80"),
              std::string::npos)
        << error.what();
  }
}

// A prompt longer than what is fed at once takes some steps; others go on meanwhile.
TEST(EnginePages, WhatIsDecodedDoesNotDependOnTheThreads) {
  const auto network = frozen_network();
  Results one;
  for (const int threads : {1, 2, 3}) {
    Engine engine(*network, {}, {.max_rows = 24, .threads = threads});
    for (uint64_t i = 0; i < 6; ++i) engine.submit(request_of(*network, i, 9, 8, 12));
    auto results = run(engine);
    if (threads == 1)
      one = std::move(results);
    else
      expect_same(results, one);
  }
}

TEST(EnginePages, ATokenCostsNoAllocation) {
  const auto network = frozen_network();
  for (const int threads : {1, 2}) {
    Engine engine(*network, {}, {.max_rows = 8, .threads = threads});
    auto request = request_of(*network, 0, 20, 8, 60);
    for (const bool filtered : {false, true}) {
      if (!filtered) request.sampling.top_p = 1.0;
      engine.submit(request);
      for (int i = 0; i < 12; ++i) engine.step(0);
      allocations = 0;
      counting = true;
      for (int i = 0; i < 40; ++i) engine.step(0);
      counting = false;
      EXPECT_EQ(allocations, 0) << threads << " threads";
      run(engine);
      request.sampling.top_p = 0.9;
      request.id = 1;
    }
  }
}

}  // namespace
}  // namespace sluice::actors
