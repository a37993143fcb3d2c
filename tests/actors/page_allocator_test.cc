#include "actors/page_allocator.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace sluice::actors {
namespace {

TEST(PageAllocator, APageIsFreeWhenItsLastHolderLetsGo) {
  PageAllocator pages(2);
  const int32_t first = pages.take(), second = pages.take();
  EXPECT_NE(first, second);
  EXPECT_THROW(pages.take(), Error);

  pages.share(first);
  EXPECT_TRUE(pages.is_shared(first));
  pages.release(first);
  EXPECT_FALSE(pages.is_shared(first));
  EXPECT_EQ(pages.num_free(), 0);
  pages.release(first);
  EXPECT_EQ(pages.num_free(), 1);
  EXPECT_EQ(pages.take(), first);
}

TEST(PageAllocator, RefusesToReleaseOrShareWhatNobodyHolds) {
  PageAllocator pages(2);
  const int32_t page = pages.take();
  pages.release(page);
  EXPECT_THROW(pages.release(page), Error);
  EXPECT_THROW(pages.share(page), Error);
}

}  // namespace
}  // namespace sluice::actors
