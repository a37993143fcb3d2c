#include "base/sha256.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/internal/posix.h"

namespace sluice {
Sha256::Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
  require(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1,
          "Sha256: OpenSSL refuses to start");
}

void Sha256::add(std::string_view bytes) {
  require(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1, "Sha256: OpenSSL refuses ",
          bytes.size(), " bytes");
}

std::string Sha256::hex() {
  std::array<unsigned char, 32> digest{};
  require(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) == 1, "Sha256: OpenSSL gives no digest");
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : digest) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string sha256_hex(std::string_view bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hash.hex();
}

std::string sha256_file(const std::filesystem::path& file) {
  const internal::UniqueFd fd(
      internal::retry([&] { return ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); }));
  require<DataError>(fd.valid(), "cannot open ", file, ": ", internal::errno_text(errno));
  Sha256 hash;
  std::vector<char> chunk(size_t{1} << 20);
  while (true) {
    const ssize_t n = internal::retry([&] { return ::read(fd.get(), chunk.data(), chunk.size()); });
    require<DataError>(n >= 0, "cannot read ", file, ": ", internal::errno_text(errno));
    if (n == 0) return hash.hex();
    hash.add({chunk.data(), static_cast<size_t>(n)});
  }
}

}  // namespace sluice
