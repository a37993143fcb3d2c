// Weights for processes of the same host: one sealed memfd for each live version, mapped by whoever wants it.
//
// Nothing has a name in a file system, so nothing survives the processes that hold it. Bytes are opaque here:
// callers convert.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace sluice::transport {

// What a learner tells its actors: where the bytes of a version are, and how to know they are right.
struct WeightAnnouncement {
  int64_t version = 0;
  int64_t pid = 0;  // /proc/PID/fd/FD is the memfd
  int64_t fd = 0;
  uint64_t bytes = 0;
  std::string checksum;  // XXH3-128 of the bytes, hex
};
std::string encode_announcement(const WeightAnnouncement& announcement);
WeightAnnouncement decode_announcement(std::string_view json);

// The writing side. Not safe from several threads.
class WeightStore {
 public:
  WeightStore() = default;
  ~WeightStore();
  WeightStore(const WeightStore&) = delete;
  WeightStore& operator=(const WeightStore&) = delete;

  // Copies the bytes into a new memfd, seals it against writing and resizing, reads it back and checks the
  // checksum: the one verification on this host. A version that is there already is an Error.
  WeightAnnouncement publish(int64_t version, std::string_view bytes);
  // Lets go of versions below `oldest`; who has one mapped keeps it.
  void retire(int64_t oldest);

 private:
  std::map<int64_t, WeightAnnouncement> live_;
};

// The reading side: a read-only mapping that lives as long as this object.
class MappedWeights {
 public:
  // Checks that it is a sealed memfd of the announced size and that its version, checksum and size in the
  // header page agree. Throws EnvironmentError when the process is gone or on another host.
  explicit MappedWeights(const WeightAnnouncement& announcement);
  ~MappedWeights();
  MappedWeights(const MappedWeights&) = delete;
  MappedWeights& operator=(const MappedWeights&) = delete;

  int64_t version() const { return version_; }
  std::string_view bytes() const { return {data_, size_}; }

 private:
  int64_t version_ = 0;
  void* mapping_ = nullptr;
  size_t mapped_ = 0;
  const char* data_ = nullptr;  // page aligned
  size_t size_ = 0;
};

}  // namespace sluice::transport
