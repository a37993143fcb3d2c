#include "transport/shared_weights.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/error.h"
#include "tests/transport/opaque_weights.h"

namespace sluice::transport {
namespace {

std::string weights(size_t bytes) {
  std::string out(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) out[i] = static_cast<char>(i * 31 + i / 251);
  return out;
}

// Whether any process of this user has a memfd of that name open or mapped; /proc/self would be this one.
int open_memfds(const std::string& name) {
  int found = 0;
  std::error_code error;
  for (const auto& process : std::filesystem::directory_iterator("/proc", error)) {
    for (const auto& fd : std::filesystem::directory_iterator(process.path() / "fd", error)) {
      const auto target = std::filesystem::read_symlink(fd.path(), error);
      if (target.string().find("memfd:" + name) != std::string::npos) ++found;
    }
  }
  return found;
}

TEST(SharedWeights, AReaderSeesWhatWasPublished) {
  WeightStore store;
  const auto bytes = weights(100'000);

  const auto announcement = store.publish(3, opaque_weights(bytes));
  const MappedWeights mapped(decode_announcement(encode_announcement(announcement)));

  EXPECT_EQ(mapped.version(), 3);
  EXPECT_TRUE(mapped.bytes() == bytes);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(mapped.bytes().data()) % 4096, 0u);
}

TEST(SharedWeights, OfNoBytesAreWeightsToo) {
  WeightStore store;
  EXPECT_EQ(MappedWeights(store.publish(0, opaque_weights(""))).bytes(), "");
}

TEST(SharedWeights, TheSameBytesPublishedTwiceAreTwoPublications) {
  WeightStore one, other;
  auto first = one.publish(0, opaque_weights("w"));
  const auto second = other.publish(0, opaque_weights("w"));
  EXPECT_NE(first.id, second.id);
  first.id = second.id;
  EXPECT_THROW(MappedWeights{first}, EnvironmentError);
}

TEST(SharedWeights, NobodyCanChangeOrResizeThem) {
  WeightStore store;
  const auto announcement = store.publish(1, opaque_weights(weights(5000)));
  const auto fd = static_cast<int>(announcement.fd);

  EXPECT_EQ(::pwrite(fd, "x", 1, 4096), -1);
  EXPECT_EQ(::ftruncate(fd, 0), -1);
  EXPECT_EQ(::ftruncate(fd, 1 << 20), -1);
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
}

TEST(SharedWeights, WhoHasThemMappedKeepsThemWhenTheyAreLetGo) {
  WeightStore store;
  const auto first = store.publish(1, opaque_weights(weights(5000)));
  const auto second = store.publish(2, opaque_weights(weights(6000)));
  const MappedWeights mapped(first);

  store.retire(2);

  EXPECT_TRUE(MappedWeights(second).bytes() == weights(6000));
  EXPECT_TRUE(mapped.bytes() == weights(5000));
  EXPECT_THROW(MappedWeights{first}, EnvironmentError);
}

TEST(SharedWeights, RefusesAVersionTwice) {
  WeightStore store;
  store.publish(1, opaque_weights("a"));

  EXPECT_THROW(store.publish(1, opaque_weights("a")), Error);
}

TEST(SharedWeights, RefusesWhatIsNotAsAnnounced) {
  WeightStore store;
  const auto announcement = store.publish(1, opaque_weights(weights(5000)));

  auto wrong = announcement;
  wrong.version = 2;
  EXPECT_THROW(MappedWeights{wrong}, EnvironmentError);
  wrong = announcement;
  wrong.bytes = 4999;
  EXPECT_THROW(MappedWeights{wrong}, EnvironmentError);
  wrong = announcement;
  wrong.id[0] = wrong.id[0] == '0' ? '1' : '0';
  EXPECT_THROW(MappedWeights{wrong}, EnvironmentError);
}

TEST(SharedWeights, RefusesMemoryThatIsNotSealed) {
  const int fd = ::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(::ftruncate(fd, 4096 + 10), 0);

  EXPECT_THROW(MappedWeights({.version = 1, .pid = ::getpid(), .fd = fd, .bytes = 10}), EnvironmentError);
  ::close(fd);
}

TEST(SharedWeights, RefusesAPipeWithoutWaitingForItsWriter) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);

  EXPECT_THROW(MappedWeights({.version = 1, .pid = ::getpid(), .fd = ends[0], .bytes = 10}),
               EnvironmentError);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(SharedWeights, RefusesAnAnnouncementThatDoesNotHoldTogether) {
  EXPECT_THROW(decode_announcement("{}"), DataError);
  EXPECT_THROW(decode_announcement(R"({"version":1,"pid":0,"fd":3,"bytes":1,"layout":"","id":"x"})"),
               DataError);
  EXPECT_THROW(
      decode_announcement(encode_announcement({.version = -1, .pid = 1, .id = std::string(32, '0')})),
      DataError);
}

TEST(SharedWeights, AKilledProcessLeavesNothingBehind) {
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const int64_t version = 900'000'000 + ::getpid();  // a name no other test has
  const pid_t child = ::fork();
  if (child == 0) {
    WeightStore store;
    const auto text = encode_announcement(store.publish(version, opaque_weights(weights(1 << 20))));
    if (::write(ready[1], text.data(), text.size()) < 0) ::_exit(1);
    ::pause();
    ::_exit(0);
  }
  pollfd waiting{ready[0], POLLIN, 0};
  ASSERT_EQ(::poll(&waiting, 1, 10'000), 1) << "the child published nothing";
  std::string text(4096, '\0');
  text.resize(static_cast<size_t>(::read(ready[0], text.data(), text.size())));
  const auto announcement = decode_announcement(text);
  const auto name = "sluice-weights-" + std::to_string(version);
  std::optional<MappedWeights> mapped(std::in_place, announcement);
  EXPECT_EQ(open_memfds(name), 1);

  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);

  EXPECT_TRUE(mapped->bytes() == weights(1 << 20));  // a reader goes on
  mapped.reset();
  EXPECT_EQ(open_memfds(name), 0);
  EXPECT_FALSE(std::filesystem::exists("/dev/shm/" + name));
  EXPECT_THROW(MappedWeights{announcement}, EnvironmentError);
  ::close(ready[0]);
  ::close(ready[1]);
}

}  // namespace
}  // namespace sluice::transport
