// Weights for processes of the same host: one sealed memfd for each live version, mapped by whoever wants it.
//
// Nothing has a name in a file system, so nothing survives the processes that hold it. Bytes are opaque here:
// callers convert.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace sluice::transport {

class MemoryMapping;

// What a learner tells its actors: where the bytes of a version are, and how to know they are right.
struct WeightAnnouncement {
  int64_t version = 0;
  int64_t pid = 0;  // /proc/PID/fd/FD is the memfd
  int64_t fd = 0;
  uint64_t bytes = 0;
  std::string layout;  // how to read the bytes, the callers' business; at most 64 characters
  std::string id;      // 32 random hex digits: no two publications have the same
};
std::string encode_announcement(const WeightAnnouncement& announcement);
WeightAnnouncement decode_announcement(std::string_view json);

// Bytes that are made in their place.
struct WeightSource {
  std::string layout;
  uint64_t bytes = 0;
  std::function<void(void* to)> write;  // fills `bytes` bytes, aligned to 4096
};

// The writing side. Not safe from several threads.
class WeightStore {
 public:
  WeightStore() = default;
  ~WeightStore();
  WeightStore(const WeightStore&) = delete;
  WeightStore& operator=(const WeightStore&) = delete;

  // Lets the source write into a new memfd, on large pages where the system has some, and seals it against
  // writing and resizing: what readers map is the very memory it was written to. A version that is there
  // already is an Error.
  WeightAnnouncement publish(int64_t version, const WeightSource& source);
  // Lets go of versions below `oldest`; who has one mapped keeps it.
  void retire(int64_t oldest);

 private:
  std::map<int64_t, WeightAnnouncement> live_;
};

// The reading side: a read-only mapping that lives as long as this object.
class MappedWeights {
 public:
  // Checks that it is a sealed memfd of the announced size and that its version, id, layout and size in the
  // header page agree. Throws EnvironmentError when the process is gone or on another host.
  explicit MappedWeights(const WeightAnnouncement& announcement);
  ~MappedWeights();
  MappedWeights(const MappedWeights&) = delete;
  MappedWeights& operator=(const MappedWeights&) = delete;

  int64_t version() const { return announcement_.version; }
  const std::string& layout() const { return announcement_.layout; }
  std::string_view bytes() const;  // page aligned

 private:
  const WeightAnnouncement announcement_;
  std::unique_ptr<const MemoryMapping> mapping_;
};

}  // namespace sluice::transport
