#include "transport/shared_weights.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "base/byte_codec.h"
#include "base/error.h"
#include "base/json.h"

namespace sluice::transport {
namespace {

constexpr uint64_t kMagic = 0x3154574543494C53;  // "SLICEWT1" as the bytes stand
constexpr size_t kLargePage = size_t{2} << 20;
constexpr int kCollapse = 25;         // MADV_COLLAPSE of Linux 6.1, which headers older than that lack
constexpr size_t kHeaderPage = 4096;  // a multiple of the page size on x86, so the data stays aligned
constexpr size_t kMaxLayout = 64, kIdDigits = 32;  // characters
constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

std::string errno_text() { return std::strerror(errno); }

// Closes its descriptor unless it was taken.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int take() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

std::string random_id() {
  std::array<unsigned char, 16> bytes;
  const bool filled = ::getrandom(bytes.data(), bytes.size(), 0) == std::ssize(bytes);
  require<EnvironmentError>(filled, "cannot name the weights: ", errno_text());
  constexpr char digits[] = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : bytes) {
    hex += digits[byte >> 4];
    hex += digits[byte & 15];
  }
  return hex;
}

// Gives it large pages before it is written: an eighth of a decoding step was the processor's search for
// small ones, and filling those takes four times as long. Systems that have none to give go on with small
// ones.
void ask_for_large_pages(char* data, size_t size) {
  const size_t whole = size / kLargePage * kLargePage;
  for (size_t at = 0; at < whole; at += kLargePage) data[at] = 0;  // there must be some page to collapse
  if (whole > 0) ::madvise(data, whole, kCollapse);
}

std::string header_page(const WeightAnnouncement& announcement) {
  ByteWriter header;
  header.u64(kMagic);
  header.i64(announcement.version);
  header.u64(announcement.bytes);
  header.bytes(announcement.layout);
  header.bytes(announcement.id);
  auto page = header.take();
  page.resize(kHeaderPage, '\0');
  return page;
}

void check_size(uint64_t bytes, const char* who) {
  constexpr auto kMost = static_cast<uint64_t>(std::numeric_limits<off_t>::max()) - kHeaderPage;
  require<DataError>(bytes <= kMost, who, ": weights of ", bytes, " bytes");
}

}  // namespace

// Of a memfd, at an address that lets large pages be mapped as such; ends with its scope.
class MemoryMapping {
 public:
  MemoryMapping(int fd, size_t size, int protection) : size_(size) {
    reserved_ = ::mmap(nullptr, size + kLargePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const auto address = reinterpret_cast<uintptr_t>(reserved_);
    void* const aligned = reinterpret_cast<void*>((address + kLargePage - 1) / kLargePage * kLargePage);
    if (reserved_ != MAP_FAILED) data_ = ::mmap(aligned, size, protection, MAP_SHARED | MAP_FIXED, fd, 0);
    const int error = errno;
    if (data_ != MAP_FAILED) return;
    if (reserved_ != MAP_FAILED) ::munmap(reserved_, size_ + kLargePage);
    fail<EnvironmentError>("cannot map ", size, " bytes of weights: ", std::strerror(error));
  }
  ~MemoryMapping() { ::munmap(reserved_, size_ + kLargePage); }
  MemoryMapping(const MemoryMapping&) = delete;
  MemoryMapping& operator=(const MemoryMapping&) = delete;

  char* data() const { return static_cast<char*>(data_); }
  std::string_view bytes() const { return {data(), size_}; }

 private:
  size_t size_;
  void* reserved_ = MAP_FAILED;  // what is mapped and the room to align it
  void* data_ = MAP_FAILED;
};

std::string encode_announcement(const WeightAnnouncement& announcement) {
  return Json{{"version", announcement.version}, {"pid", announcement.pid},       {"fd", announcement.fd},
              {"bytes", announcement.bytes},     {"layout", announcement.layout}, {"id", announcement.id}}
      .dump();
}

WeightAnnouncement decode_announcement(std::string_view json_text) {
  constexpr std::string_view where = "announcement of weights";
  const Json json = parse_json(json_text, where, {.max_bytes = 4096, .max_depth = 2});
  WeightAnnouncement announcement;
  announcement.version = json_member<int64_t>(json, "version", where);
  announcement.pid = json_member<int64_t>(json, "pid", where);
  announcement.fd = json_member<int64_t>(json, "fd", where);
  const auto bytes = json_member<int64_t>(json, "bytes", where);
  announcement.layout = json_member<std::string>(json, "layout", where);
  announcement.id = json_member<std::string>(json, "id", where);
  require<DataError>(announcement.version >= 0 && announcement.pid > 0 && announcement.fd >= 0 &&
                         bytes >= 0 && announcement.layout.size() <= kMaxLayout &&
                         announcement.id.size() == kIdDigits,
                     where, ": version ", announcement.version, ", pid ", announcement.pid, ", fd ",
                     announcement.fd, ", bytes ", bytes, ", a layout of ", announcement.layout.size(),
                     " and an id of ", announcement.id.size(), " characters");
  announcement.bytes = static_cast<uint64_t>(bytes);
  return announcement;
}

WeightStore::~WeightStore() {
  for (const auto& [version, announcement] : live_) ::close(static_cast<int>(announcement.fd));
}

WeightAnnouncement WeightStore::publish(int64_t version, const WeightSource& source) {
  require(!live_.contains(version), "WeightStore: version ", version, " is published already");
  require(source.layout.size() <= kMaxLayout, "WeightStore: a layout of ", source.layout.size(),
          " characters");
  check_size(source.bytes, "WeightStore");
  const auto cannot = [&](bool done, const char* what) {
    require<EnvironmentError>(done, "cannot ", what, " the weights of version ", version, ", ", source.bytes,
                              " bytes: ", errno_text());
  };
  // Without close-on-exec a child would keep every version of its parent alive.
  Descriptor fd(
      ::memfd_create(("sluice-weights-" + std::to_string(version)).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  cannot(fd.get() >= 0, "make shared memory for");
  const size_t size = kHeaderPage + source.bytes;
  cannot(::ftruncate(fd.get(), static_cast<off_t>(size)) == 0, "give memory to");
  WeightAnnouncement announcement{.version = version,
                                  .pid = ::getpid(),
                                  .fd = fd.get(),
                                  .bytes = source.bytes,
                                  .layout = source.layout,
                                  .id = random_id()};
  {
    const MemoryMapping memory(fd.get(), size, PROT_READ | PROT_WRITE);
    ask_for_large_pages(memory.data(), size);
    source.write(memory.data() + kHeaderPage);
    std::ranges::copy(header_page(announcement), memory.data());
  }
  cannot(::fcntl(fd.get(), F_ADD_SEALS, kSeals) == 0, "seal");
  fd.take();
  live_.emplace(version, announcement);
  return announcement;
}

void WeightStore::retire(int64_t oldest) {
  const auto end = live_.lower_bound(oldest);
  for (auto at = live_.begin(); at != end; ++at) ::close(static_cast<int>(at->second.fd));
  live_.erase(live_.begin(), end);
}

MappedWeights::MappedWeights(const WeightAnnouncement& announcement) : announcement_(announcement) {
  check_size(announcement.bytes, "MappedWeights");
  const auto path = "/proc/" + std::to_string(announcement.pid) + "/fd/" + std::to_string(announcement.fd);
  // Non-blocking, since the number may name something else by now, a pipe for instance.
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  require<EnvironmentError>(fd.get() >= 0, "cannot open the weights of version ", announcement.version,
                            " at ", path, ": ", errno_text(),
                            "; the learner has let them go, has ended, or is on another host");
  const auto changed = [&](const auto&... what) {
    fail<EnvironmentError>("the weights of version ", announcement.version, " are not at ", path,
                           " (any more): ", what...);
  };
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) changed("it is no sealed memory");
  struct stat status {};
  const uint64_t wanted = kHeaderPage + announcement.bytes;
  if (::fstat(fd.get(), &status) != 0 || static_cast<uint64_t>(status.st_size) != wanted) {
    changed("it has ", status.st_size, " bytes, not ", wanted);
  }
  mapping_ = std::make_unique<const MemoryMapping>(fd.get(), wanted, PROT_READ);
  if (mapping_->bytes().substr(0, kHeaderPage) != header_page(announcement)) {
    changed("its header is not that of version ", announcement.version, " with id ", announcement.id);
  }
}

MappedWeights::~MappedWeights() = default;

std::string_view MappedWeights::bytes() const { return mapping_->bytes().substr(kHeaderPage); }

}  // namespace sluice::transport
