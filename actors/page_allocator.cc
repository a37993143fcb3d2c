#include "actors/page_allocator.h"

#include "base/error.h"

namespace sluice::actors {

PageAllocator::PageAllocator(int64_t num_pages) {
  require(num_pages > 0, "pages: ", num_pages, " asked for");
  holders_.resize(static_cast<size_t>(num_pages));
  free_.reserve(static_cast<size_t>(num_pages));
  for (int64_t page = num_pages; page-- > 0;) free_.push_back(static_cast<int32_t>(page));
}

int32_t PageAllocator::take() {
  require(!free_.empty(), "pages: all ", holders_.size(), " are held");
  const int32_t page = free_.back();
  free_.pop_back();
  holders_[static_cast<size_t>(page)] = 1;
  return page;
}

void PageAllocator::share(int32_t page) {
  auto& holders = holders_.at(static_cast<size_t>(page));
  require(holders > 0, "pages: ", page, " is shared by nobody who holds it");
  ++holders;
}

void PageAllocator::release(int32_t page) {
  auto& holders = holders_.at(static_cast<size_t>(page));
  require(holders > 0, "pages: ", page, " is released twice");
  if (--holders == 0) free_.push_back(page);
}

}  // namespace sluice::actors
