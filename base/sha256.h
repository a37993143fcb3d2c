// SHA-256, by OpenSSL, of bytes that come piece by piece; of bytes or a file at once: base/files.h.
#pragma once

#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace sluice {

class Sha256 {
 public:
  Sha256();

  void add(std::string_view bytes);
  std::string hex();  // of all of them, once

 private:
  std::unique_ptr<evp_md_ctx_st, void (*)(evp_md_ctx_st*)> context_;
};

}  // namespace sluice
