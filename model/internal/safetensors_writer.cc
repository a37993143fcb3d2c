#include "model/internal/safetensors_writer.h"

#include <ATen/ATen.h>

#include <set>

#include "base/files.h"
#include "base/json.h"
#include "base/pulse.h"
#include "model/internal/file_descriptor.h"
#include "model/internal/safetensors_header.h"
#include "model/tensor_bytes.h"

namespace sluice::model {
namespace {

std::filesystem::path folder_of(const std::filesystem::path& file) {
  return file.has_parent_path() ? file.parent_path() : ".";
}

void write_all(int fd, std::string_view bytes, const std::filesystem::path& file) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    require<EnvironmentError>(written > 0, file.string(), ": cannot be written: ", std::strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

// Its length, then JSON padded with spaces, so that the tensors begin at a multiple of 8.
std::string make_header(std::span<const TensorSource> tensors,
                        const std::map<std::string, std::string>& metadata) {
  Json header;
  header["__metadata__"] = metadata;
  header["__metadata__"]["format"] = "pt";
  uint64_t offset = 0;
  std::set<std::string> names{"__metadata__"};
  for (const auto& tensor : tensors) {
    require(names.insert(tensor.name).second, "safetensors: tensor \"", tensor.name, "\" is there twice");
    const uint64_t end = offset + tensor.num_bytes();
    header[tensor.name] = {{"dtype", safetensors_type_name(tensor.type)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const Json::exception& error) {
    fail("safetensors: names and metadata must be UTF-8: ", error.what());
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + text;
}

}  // namespace

UnpublishedFile::UnpublishedFile(const std::filesystem::path& file, std::span<const TensorSource> tensors,
                                 const std::map<std::string, std::string>& metadata)
    : file_(file),
      temporary_(folder_of(file) / (".tmp-" + file.filename().string() + "-" + std::to_string(::getpid()))) {
  const std::string header = make_header(tensors, metadata);
  try {
    write(tensors, header);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(temporary_, ignored);
    throw;
  }
}

UnpublishedFile::~UnpublishedFile() {
  std::error_code ignored;
  if (!published_) std::filesystem::remove(temporary_, ignored);
}

void UnpublishedFile::write(std::span<const TensorSource> tensors, const std::string& header) const {
  const auto fd = FileDescriptor::open<EnvironmentError>(temporary_, O_WRONLY | O_CREAT | O_TRUNC);
  write_all(fd.get(), header, temporary_);
  for (const auto& source : tensors) {
    const auto tensor = source.produce().detach().cpu().contiguous();
    require(tensor.scalar_type() == source.type && tensor.sizes() == at::IntArrayRef(source.shape),
            "safetensors: tensor \"", source.name, "\" was announced as ", source.type, " ",
            at::IntArrayRef(source.shape), ", saw ", tensor.scalar_type(), " ", tensor.sizes());
    write_all(fd.get(), bytes_of(tensor), temporary_);
    beat();  // a large file to a slow disk takes long
  }
  const bool synced = ::fsync(fd.get()) == 0;
  require<EnvironmentError>(synced, temporary_.string(), ": fsync: ", std::strerror(errno));
}

void UnpublishedFile::publish() {
  published_ = ::rename(temporary_.c_str(), file_.c_str()) == 0;
  require<EnvironmentError>(published_, file_.string(), ": cannot be replaced: ", std::strerror(errno));
}

uint64_t TensorSource::num_bytes() const {
  return static_cast<uint64_t>(c10::multiply_integers(shape)) * c10::elementSize(type);
}

std::vector<TensorSource> sources_of(const std::vector<NamedTensor>& tensors,
                                     std::optional<at::ScalarType> type) {
  std::vector<TensorSource> sources;
  for (const auto& [name, tensor] : tensors) {
    const auto stored =
        tensor.is_floating_point() ? type.value_or(tensor.scalar_type()) : tensor.scalar_type();
    sources.push_back({name, stored, tensor.sizes().vec(), [tensor, stored] { return tensor.to(stored); }});
  }
  return sources;
}

void write_safetensors(const std::filesystem::path& file, const std::vector<TensorSource>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  UnpublishedFile(file, tensors, metadata).publish();
  sync_directory(folder_of(file));
}

void write_safetensors(const std::filesystem::path& file, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  write_safetensors(file, sources_of(tensors), metadata);
}

}  // namespace sluice::model
