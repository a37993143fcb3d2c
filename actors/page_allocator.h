// Which pages of a decoder's cache are held, and by how many.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sluice::actors {

// A page that several sequences hold is written to by none of them: who wants to takes a copy.
class PageAllocator {
 public:
  explicit PageAllocator(int64_t num_pages);

  int64_t num_free() const { return static_cast<int64_t>(free_.size()); }
  int32_t take();  // a free page; Error when there is none
  void share(int32_t page);
  void release(int32_t page);  // free again when nobody else holds it
  bool is_shared(int32_t page) const { return holders_[static_cast<size_t>(page)] > 1; }

 private:
  std::vector<int32_t> holders_;  // [pages]
  std::vector<int32_t> free_;     // the last one goes first, so that what was used lately is used again
};

}  // namespace sluice::actors
