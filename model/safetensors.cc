#include "model/safetensors.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "model/internal/safetensors_header.h"

namespace sluice::model {
namespace {

class FileDescriptor {
 public:
  FileDescriptor(const std::filesystem::path& file, int flags)
      : fd_(::open(file.c_str(), flags | O_CLOEXEC, 0644)) {
    require<DataError>(fd_ >= 0, file.string(), ": cannot be opened: ", std::strerror(errno));
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() { ::close(fd_); }
  int get() const { return fd_; }

 private:
  const int fd_;
};

// A whole file, mapped for reading.
class Mapping {
 public:
  explicit Mapping(const std::filesystem::path& file) {
    const FileDescriptor fd(file, O_RDONLY);
    struct stat status {};
    require<DataError>(::fstat(fd.get(), &status) == 0 && S_ISREG(status.st_mode), file.string(),
                       ": not a regular file");
    size_ = static_cast<size_t>(status.st_size);
    if (size_ == 0) return;
    data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    require<DataError>(data_ != MAP_FAILED, file.string(), ": cannot be mapped: ", std::strerror(errno));
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (size_ > 0) ::munmap(data_, size_);
  }
  std::string_view bytes() const { return {static_cast<const char*>(data_), size_}; }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

void write_all(int fd, std::string_view bytes, const std::filesystem::path& file) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    require<EnvironmentError>(written > 0, file.string(), ": cannot be written: ", std::strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

std::string make_header(const std::vector<NamedTensor>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  Json header;
  header["__metadata__"] = metadata;
  header["__metadata__"]["format"] = "pt";
  uint64_t offset = 0;
  std::set<std::string> names{"__metadata__"};
  for (const auto& [name, tensor] : tensors) {
    require(names.insert(name).second, "safetensors: tensor \"", name, "\" is there twice");
    const uint64_t end = offset + tensor.nbytes();
    header[name] = {{"dtype", safetensors_type_name(tensor.scalar_type())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + text;
}

}  // namespace

std::vector<NamedTensor> read_safetensors(const std::filesystem::path& file) {
  const Mapping mapping(file);
  std::vector<NamedTensor> tensors;
  for (const auto& entry : parse_safetensors_header(mapping.bytes(), file.string())) {
    const auto bytes = mapping.bytes().substr(entry.begin, entry.end - entry.begin);
    if (entry.type == at::kBool) {
      require<DataError>(bytes.find_first_not_of(std::string_view("\0\1", 2)) == std::string_view::npos,
                         file.string(), ": tensor \"", entry.name, "\" has a BOOL that is neither 0 nor 1");
    }
    auto tensor = at::empty(entry.shape, entry.type);
    if (!bytes.empty()) std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
    tensors.push_back({entry.name, std::move(tensor)});
  }
  return tensors;
}

void write_safetensors(const std::filesystem::path& file, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::string header = make_header(tensors, metadata);
  const std::filesystem::path temporary = file.string() + ".tmp-" + std::to_string(::getpid());
  try {
    const FileDescriptor fd(temporary, O_WRONLY | O_CREAT | O_TRUNC);
    write_all(fd.get(), header, temporary);
    for (const auto& [name, tensor] : tensors) {
      const auto whole = tensor.detach().cpu().contiguous();
      write_all(fd.get(), {static_cast<const char*>(whole.const_data_ptr()), whole.nbytes()}, temporary);
    }
    require<EnvironmentError>(::fsync(fd.get()) == 0, temporary.string(), ": fsync: ", std::strerror(errno));
    std::filesystem::rename(temporary, file);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw;
  }
  sync_directory(file.parent_path().empty() ? "." : file.parent_path());
}

}  // namespace sluice::model
