#include "optim/internal/lent_pages.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace sluice::optim {
namespace {

int64_t numbers_of_page() { return ::sysconf(_SC_PAGESIZE) / 4; }

TEST(LentPages, AreZeroAndTakeNoMemoryUntilTheyAreTouched) {
  const int64_t page = numbers_of_page();
  const auto numbers = at::empty({40 * page});
  use_small_pages(numbers);
  numbers.fill_(1.0);
  const auto lent = numbers.narrow(0, 3, 30 * page);  // begins and ends within a page
  EXPECT_GE(resident_bytes(lent), 29 * page * 4);

  give_back(lent);
  EXPECT_EQ(resident_bytes(lent), 0);
  EXPECT_EQ(numbers.sum().item<double>(), static_cast<double>(10 * page));  // of those beside them
  EXPECT_EQ(lent.sum().item<double>(), 0.0);

  lent.narrow(0, 5 * page, page).fill_(2.0);
  give_back(lent.narrow(0, 10 * page, 0));
  EXPECT_EQ(lent.sum().item<double>(), static_cast<double>(2 * page));
}

TEST(LentPages, OfLessThanAPageAreZero) {
  const auto numbers = at::ones({100});
  give_back(numbers.narrow(0, 10, 20));
  EXPECT_EQ(numbers.sum().item<double>(), 80.0);
}

}  // namespace
}  // namespace sluice::optim
