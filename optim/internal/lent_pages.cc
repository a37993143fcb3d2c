#include "optim/internal/lent_pages.h"

#include <ATen/ATen.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace sluice::optim {
namespace {

size_t page_bytes() {
  static const auto bytes = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

struct Bytes {
  char* first = nullptr;
  char* end = nullptr;

  size_t size() const { return static_cast<size_t>(end - first); }
};

Bytes bytes_of(const at::Tensor& numbers) {
  require(numbers.is_cpu() && numbers.is_contiguous(), "lent pages: numbers ", numbers.sizes(), " on ",
          numbers.device().str(), " are not contiguous on the CPU");
  auto* const first = static_cast<char*>(numbers.mutable_data_ptr());
  return {first, first + numbers.nbytes()};
}

char* next_page(char* at) {
  const size_t into = reinterpret_cast<uintptr_t>(at) % page_bytes();
  return into == 0 ? at : at + (page_bytes() - into);
}

// Those on which there is nothing else.
Bytes whole_pages(const Bytes& bytes) {
  char* const first = std::min(next_page(bytes.first), bytes.end);
  const size_t pages = static_cast<size_t>(bytes.end - first) / page_bytes();
  return {first, first + pages * page_bytes()};
}

}  // namespace

void use_small_pages(const at::Tensor& numbers) {
  const auto pages = whole_pages(bytes_of(numbers));
  // A system without large pages refuses, which is as good.
  if (pages.size() > 0) ::madvise(pages.first, pages.size(), MADV_NOHUGEPAGE);
}

void give_back(const at::Tensor& numbers) {
  const auto bytes = bytes_of(numbers);
  const auto pages = whole_pages(bytes);
  std::fill(bytes.first, pages.first, '\0');
  std::fill(pages.end, bytes.end, '\0');
  if (pages.size() == 0) return;
  const bool taken = ::madvise(pages.first, pages.size(), MADV_DONTNEED) == 0;
  require(taken, "lent pages: the system does not take ", pages.size(),
          " bytes back: ", std::strerror(errno));
}

int64_t resident_bytes(const at::Tensor& numbers) {
  const auto pages = whole_pages(bytes_of(numbers));
  std::vector<unsigned char> is_there(pages.size() / page_bytes());
  if (is_there.empty()) return 0;
  const bool told = ::mincore(pages.first, pages.size(), is_there.data()) == 0;
  require(told, "lent pages: mincore: ", std::strerror(errno));
  const auto count = std::ranges::count_if(is_there, [](unsigned char page) { return (page & 1) != 0; });
  return static_cast<int64_t>(count) * static_cast<int64_t>(page_bytes());
}

}  // namespace sluice::optim
