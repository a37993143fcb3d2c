#include "model/safetensors.h"

#include <ATen/ATen.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/quoted_name.h"
#include "model/internal/file_descriptor.h"
#include "model/internal/safetensors_header.h"

namespace sluice::model {

// A whole file, mapped for reading.
class SafetensorsFile::Mapping {
 public:
  // O_NONBLOCK: opening a pipe that nobody writes must not wait; it is refused below.
  explicit Mapping(const std::filesystem::path& file)
      : fd_(FileDescriptor::open<DataError>(file, O_RDONLY | O_NONBLOCK)), size_(size_now(file)) {
    if (size_ == 0) return;
    data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd_.get(), 0);
    require<DataError>(data_ != MAP_FAILED, file.string(), ": cannot be mapped: ", std::strerror(errno));
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (size_ > 0) ::munmap(data_, size_);
  }

  std::string_view bytes() const { return {static_cast<const char*>(data_), size_}; }

  void check_size(const std::filesystem::path& file) const {
    const size_t now = size_now(file);
    require<DataError>(now >= size_, file.string(), ": was cut from ", size_, " to ", now,
                       " bytes while it was read");
  }

  // Gives the whole pages between these bytes back; reading them again brings them back from the file.
  void forget(uint64_t begin, uint64_t end) const {
    static const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    const uint64_t first = (begin + page - 1) / page * page, last = end / page * page;
    if (first < last) ::madvise(static_cast<char*>(data_) + first, last - first, MADV_DONTNEED);
  }

 private:
  size_t size_now(const std::filesystem::path& file) const {
    struct stat status {};
    require<DataError>(::fstat(fd_.get(), &status) == 0 && S_ISREG(status.st_mode), file.string(),
                       ": not a regular file");
    return static_cast<size_t>(status.st_size);
  }

  const FileDescriptor fd_;
  const size_t size_;
  void* data_ = nullptr;
};

SafetensorsFile::SafetensorsFile(const std::filesystem::path& file)
    : file_(file),
      mapping_(std::make_unique<const Mapping>(file)),
      entries_(parse_safetensors_header(mapping_->bytes(), file.string())) {}

SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;

at::Tensor SafetensorsFile::read(const SafetensorsEntry& entry) const {
  mapping_->check_size(file_);
  const auto bytes = mapping_->bytes().substr(entry.begin, entry.end - entry.begin);
  if (entry.type == at::kBool) {
    const size_t odd = bytes.find_first_not_of(std::string_view("\0\1", 2));
    require<DataError>(odd == std::string_view::npos, file_.string(), ": tensor ", quoted_name(entry.name),
                       " has a BOOL that is neither 0 nor 1, at byte ", entry.begin + odd);
  }
  auto tensor = at::empty(entry.shape, entry.type);
  if (!bytes.empty()) std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
  mapping_->forget(entry.begin, entry.end);
  return tensor;
}

std::vector<NamedTensor> read_safetensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  std::vector<NamedTensor> tensors;
  for (const auto& entry : file.entries()) tensors.push_back({entry.name, file.read(entry)});
  return tensors;
}

}  // namespace sluice::model
