#include "transport/shared_weights.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
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
constexpr size_t kHeaderPage = 4096;  // a multiple of the page size on x86, so the data stays aligned
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

std::string xxh3_hex(std::string_view bytes) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes.data(), bytes.size()));
  constexpr char digits[] = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : canonical.digest) {
    hex += digits[byte >> 4];
    hex += digits[byte & 15];
  }
  return hex;
}

std::string header_page(const WeightAnnouncement& announcement) {
  ByteWriter header;
  header.u64(kMagic);
  header.i64(announcement.version);
  header.u64(announcement.bytes);
  header.bytes(announcement.checksum);
  auto page = header.take();
  page.resize(kHeaderPage, '\0');
  return page;
}

void write_all(int fd, std::string_view bytes, off_t offset, int64_t version) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), std::min(bytes.size(), size_t{1} << 30), offset);
    if (n < 0 && errno == EINTR) continue;
    require<EnvironmentError>(n > 0, "cannot put the weights of version ", version,
                              " into shared memory: ", errno_text(), "; ", bytes.size(),
                              " bytes are left to write");
    bytes.remove_prefix(static_cast<size_t>(n));
    offset += n;
  }
}

// A mapping that ends with its scope.
class ReadOnlyMapping {
 public:
  ReadOnlyMapping(int fd, size_t size)
      : size_(size), data_(::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0)) {
    require<EnvironmentError>(data_ != MAP_FAILED, "cannot map ", size, " bytes of weights: ", errno_text());
  }
  ~ReadOnlyMapping() {
    if (data_ != nullptr) ::munmap(data_, size_);
  }
  ReadOnlyMapping(const ReadOnlyMapping&) = delete;
  ReadOnlyMapping& operator=(const ReadOnlyMapping&) = delete;
  std::string_view bytes() const { return {static_cast<const char*>(data_), size_}; }
  void* take() { return std::exchange(data_, nullptr); }

 private:
  size_t size_;
  void* data_;
};

void check_writable_size(uint64_t bytes, const char* who) {
  constexpr auto kMost = static_cast<uint64_t>(std::numeric_limits<off_t>::max()) - kHeaderPage;
  require<DataError>(bytes <= kMost, who, ": weights of ", bytes, " bytes");
}

}  // namespace

std::string encode_announcement(const WeightAnnouncement& announcement) {
  return Json{{"version", announcement.version},
              {"pid", announcement.pid},
              {"fd", announcement.fd},
              {"bytes", announcement.bytes},
              {"checksum", announcement.checksum}}
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
  announcement.checksum = json_member<std::string>(json, "checksum", where);
  require<DataError>(announcement.version >= 0 && announcement.pid > 0 && announcement.fd >= 0 &&
                         bytes >= 0 && announcement.checksum.size() == 32,
                     where, ": version ", announcement.version, ", pid ", announcement.pid, ", fd ",
                     announcement.fd, ", bytes ", bytes, ", a checksum of ", announcement.checksum.size(),
                     " characters");
  announcement.bytes = static_cast<uint64_t>(bytes);
  return announcement;
}

WeightStore::~WeightStore() {
  for (const auto& [version, announcement] : live_) ::close(static_cast<int>(announcement.fd));
}

WeightAnnouncement WeightStore::publish(int64_t version, std::string_view bytes) {
  require(!live_.contains(version), "WeightStore: version ", version, " is published already");
  check_writable_size(bytes.size(), "WeightStore");
  // Without close-on-exec a child would keep every version of its parent alive.
  Descriptor fd(
      ::memfd_create(("sluice-weights-" + std::to_string(version)).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  require<EnvironmentError>(fd.get() >= 0, "cannot make shared memory for weights: ", errno_text());
  WeightAnnouncement announcement{.version = version,
                                  .pid = ::getpid(),
                                  .fd = fd.get(),
                                  .bytes = bytes.size(),
                                  .checksum = xxh3_hex(bytes)};
  write_all(fd.get(), header_page(announcement), 0, version);
  write_all(fd.get(), bytes, kHeaderPage, version);
  require<EnvironmentError>(::fcntl(fd.get(), F_ADD_SEALS, kSeals) == 0,
                            "cannot seal the weights of version ", version, ": ", errno_text());
  const ReadOnlyMapping written(fd.get(), kHeaderPage + bytes.size());
  const auto read_back = xxh3_hex(written.bytes().substr(kHeaderPage));
  require<EnvironmentError>(read_back == announcement.checksum, "the weights of version ", version,
                            " read back from shared memory have checksum ", read_back, ", not ",
                            announcement.checksum);
  fd.take();
  live_.emplace(version, announcement);
  return announcement;
}

void WeightStore::retire(int64_t oldest) {
  const auto end = live_.lower_bound(oldest);
  for (auto at = live_.begin(); at != end; ++at) ::close(static_cast<int>(at->second.fd));
  live_.erase(live_.begin(), end);
}

MappedWeights::MappedWeights(const WeightAnnouncement& announcement) : version_(announcement.version) {
  check_writable_size(announcement.bytes, "MappedWeights");
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
  ReadOnlyMapping mapping(fd.get(), wanted);
  if (mapping.bytes().substr(0, kHeaderPage) != header_page(announcement)) {
    changed("its header is not that of version ", announcement.version, " with checksum ",
            announcement.checksum);
  }
  mapped_ = wanted;
  size_ = announcement.bytes;
  mapping_ = mapping.take();
  data_ = static_cast<const char*>(mapping_) + kHeaderPage;
}

MappedWeights::~MappedWeights() {
  if (mapping_ != nullptr) ::munmap(mapping_, mapped_);
}

}  // namespace sluice::transport
