// What every collective does, for each rank of a group and a device.
#pragma once

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/philox.h"
#include "tests/spawn_ranks.h"

namespace sluice::transport {

// Of its number, where there are several.
inline at::Device device_of(at::DeviceType type, int64_t rank) {
  return type == at::kCPU ? at::Device(type) : at::Device(type, static_cast<at::DeviceIndex>(rank));
}

constexpr int64_t kSummed = 1003;  // by sum_twice()

// Numbers whose sum depends on the order in which they are added.
inline at::Tensor numbers_of(int64_t rank, int64_t count, at::ScalarType type) {
  auto values = at::empty({count}, at::kDouble);
  for (int64_t i = 0; i < count; ++i) {
    const double uniform =
        random_uniform(/*seed=*/3, RandomUse::Data, static_cast<uint64_t>(rank), 0, static_cast<uint64_t>(i));
    values[i] = (uniform - 0.5) * (i % 3 == 0 ? 1e6 : 1.0);
  }
  return values.to(type);
}

inline void add_over_the_ranks(Collective& group, const at::Device& device) {
  auto counts = (at::tensor({1, 10, 100}, at::kLong) * (group.rank() + 1)).to(device);
  group.all_reduce_sum(counts);
  const int64_t times = group.size() * (group.size() + 1) / 2;  // 1 + 2 + ...
  EXPECT_TRUE(at::equal(counts.cpu(), at::tensor({1, 10, 100}, at::kLong) * times));
}

// Of kSummed numbers of each rank; the sum has the same bits the second time.
inline at::Tensor sum_twice(Collective& group, const at::Device& device, at::ScalarType type) {
  auto sum = numbers_of(group.rank(), kSummed, type).to(device), again = sum.clone();
  group.all_reduce_sum(sum);
  group.all_reduce_sum(again);
  EXPECT_TRUE(at::equal(sum, again));
  return sum.cpu();
}

inline void take_sums_that_were_begun_in_one_order(Collective& group, const at::Device& device) {
  std::vector<at::Tensor> tensors;
  std::vector<Collective::EndSum> ends;
  for (int64_t i = 0; i < 20; ++i) {
    tensors.push_back(
        at::full({1 + 100 * i}, i + group.rank(), at::TensorOptions(device).dtype(at::kDouble)));
    ends.push_back(group.begin_sum(tensors.back()));
  }
  EXPECT_THROW(group.meet(), Error);
  EXPECT_THROW(group.all_reduce_sum(tensors.front()), Error);
  for (const auto& end : ends) end();
  const int64_t ranks = group.size() * (group.size() - 1) / 2;  // 0 + 1 + ...
  for (int64_t i = 0; i < 20; ++i) {
    EXPECT_TRUE(tensors[static_cast<size_t>(i)].eq(group.size() * i + ranks).all().item<bool>()) << i;
  }
  group.meet();
}

// Also what no sum with zeros keeps.
inline void give_all_what_each_has(Collective& group, const at::Device& device) {
  for (const auto type : {at::kFloat, at::kDouble, at::kLong, at::kByte}) {
    for (int64_t root = 0; root < group.size(); ++root) {
      const auto expected = (at::arange(kSummed) % 100 + root).to(type).to(device);
      auto numbers = group.rank() == root ? expected.clone() : at::full_like(expected, 77);
      group.broadcast(numbers, root);
      EXPECT_TRUE(at::equal(numbers, expected)) << type << " of rank " << root;
    }
  }
  auto odd = at::full({2}, 5.0, at::TensorOptions(device).dtype(at::kFloat));
  if (group.rank() == group.size() - 1) odd.copy_(at::tensor({-0.0f, NAN}));
  group.broadcast(odd, group.size() - 1);
  EXPECT_TRUE(std::signbit(odd[0].item<float>()));
  EXPECT_TRUE(std::isnan(odd[1].item<float>()));
}

inline void tell_all_what_rank_zero_says_and_what_each_says(Collective& group) {
  const std::string bytes("a\0b\xff", 4);
  EXPECT_EQ(broadcast(group, group.rank() == 0 ? bytes : "nothing"), bytes);
  EXPECT_EQ(broadcast(group, ""), "");
  const auto rank = static_cast<double>(group.rank()), size = static_cast<double>(group.size());
  const auto all = gather(group, {rank, 0.1});
  ASSERT_EQ(std::ssize(all), group.size());
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i], (std::vector<double>{static_cast<double>(i), 0.1}));
  }
  EXPECT_EQ(sum_over(group, {rank, 1.0}), (std::vector<double>{size * (size - 1) / 2, size}));
}

// Of two ranks, each on the device of its number.
inline void name_the_rank_that_does_not_come_to_a_sum(at::DeviceType type, Millis timeout_ms,
                                                      const JoinRanks& join) {
  const auto run = [&](Collective& group) {
    auto one = at::ones({5}, device_of(type, group.rank()));
    group.all_reduce_sum(one);
    if (group.rank() == 1) {  // there, and busy with something else
      std::this_thread::sleep_for(std::chrono::milliseconds(3 * timeout_ms));
      return;
    }
    group.all_reduce_sum(one);
  };
  EXPECT_THAT(messages_of_ranks(2, run, timeout_ms, join).front(),
              testing::HasSubstr("rank 0 of 2, sum 2 of 5 numbers: rank 1 did not come within " +
                                 std::to_string(timeout_ms) + " ms"));
}

}  // namespace sluice::transport
