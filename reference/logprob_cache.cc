#include "reference/logprob_cache.h"

#include <fstream>
#include <string_view>
#include <system_error>

#include "base/byte_codec.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/files.h"

namespace sluice::reference {
namespace {

namespace fs = std::filesystem;

// Magic, key, count, the numbers, and a checksum of all that.
constexpr std::string_view kMagic = "sluice log-probs 1";
constexpr uint64_t kNumberBytes = 8, kChecksumBytes = 4;

std::string header_of(const LogprobKey& key, uint64_t count) {
  ByteWriter bytes;
  bytes.bytes(kMagic);
  bytes.bytes(key.hash());
  bytes.u64(count);
  return bytes.take();
}

// The first bytes of a file, fewer where it is shorter.
std::string read_start(const fs::path& file, size_t count) {
  std::string bytes(count, '\0');
  std::ifstream stream(file, std::ios::binary);
  stream.read(bytes.data(), static_cast<std::streamsize>(count));
  bytes.resize(static_cast<size_t>(stream.gcount()));
  return bytes;
}

}  // namespace

std::string LogprobKey::hash() const {
  ByteWriter parts;
  for (const auto& part : {weights, tokenizer, data, how}) parts.bytes(part);
  return sha256_hex(parts.str());
}

std::optional<std::vector<double>> load_logprobs(const fs::path& file, const LogprobKey& key, int64_t count,
                                                 std::string& damage) {
  require(count > 0, "load_logprobs: ", count, " numbers");
  damage.clear();
  if (!fs::exists(file)) return std::nullopt;
  const auto numbers = static_cast<uint64_t>(count);
  const std::string wanted = header_of(key, numbers);
  const std::string seen = read_start(file, wanted.size());
  const size_t key_end = wanted.size() - kNumberBytes;  // of the count
  const size_t magic_end = sizeof(uint32_t) + kMagic.size();
  const bool is_one =
      seen.size() == wanted.size() && seen.substr(0, magic_end) == wanted.substr(0, magic_end);
  if (is_one && seen.substr(0, key_end) != wanted.substr(0, key_end)) return std::nullopt;

  try {
    require<DataError>(is_one, file.string(), " is no file of log-probs");
    const uint64_t bytes = wanted.size() + numbers * kNumberBytes + kChecksumBytes;
    std::error_code error;
    const uint64_t size = fs::file_size(file, error);
    require<DataError>(!error && seen == wanted && size == bytes, file.string(), " has ", size,
                       " bytes, its ", count, " log-probs take ", bytes);
    const std::string all = read_file(file, bytes);
    const auto body = std::string_view(all).substr(0, all.size() - kChecksumBytes);
    ByteReader reader(std::string_view(all).substr(wanted.size()), file.string());
    std::vector<double> logprobs;
    for (uint64_t i = 0; i < numbers; ++i) logprobs.push_back(reader.f64());
    require<DataError>(reader.u32() == crc32c(body), file.string(), " does not have its checksum");
    reader.finish();
    return logprobs;
  } catch (const DataError& problem) {
    damage = problem.what();
    return std::nullopt;
  }
}

void save_logprobs(const fs::path& file, const LogprobKey& key, const std::vector<double>& logprobs) {
  ByteWriter numbers;
  for (const double value : logprobs) numbers.f64(value);
  std::string bytes = header_of(key, logprobs.size()) + numbers.str();
  ByteWriter checksum;
  checksum.u32(crc32c(bytes));
  std::error_code error;
  fs::create_directories(file.parent_path(), error);  // what is wrong with it, writing says
  write_file_atomically(file, bytes + checksum.str());
}

}  // namespace sluice::reference
