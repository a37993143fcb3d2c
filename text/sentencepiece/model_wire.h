// Protocol buffers on the wire: the fields of one message, one after another.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::text::internal {

enum class WireType { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

struct WireField {
  uint32_t number = 0;
  WireType type = WireType::Varint;
  size_t offset = 0;       // of the field, in the file
  uint64_t value = 0;      // of a varint or a fixed number
  std::string_view bytes;  // of a field of bytes
  size_t bytes_offset = 0;
};

// Reads a message that begins at byte `offset` of the file `where`. Groups and unknown wire types are a
// DataError, as is whatever does not end inside the message.
class WireReader {
 public:
  WireReader(std::string_view message, size_t offset, const std::string& where)
      : message_(message), offset_(offset), where_(where) {}

  // The next field into `field`; false at the end of the message.
  bool next(WireField& field);

 private:
  uint64_t varint(const char* what);
  uint64_t fixed(size_t num_bytes);

  const std::string_view message_;
  const size_t offset_;
  const std::string& where_;
  size_t at_ = 0;
};

// The value of a field as the type it must have; each throws DataError naming `name` and the byte.
std::string_view wire_text(const WireField& field, const char* name, const std::string& where);  // UTF-8
std::string_view wire_bytes(const WireField& field, const char* name, const std::string& where);
int32_t wire_integer(const WireField& field, const char* name, const std::string& where);
bool wire_boolean(const WireField& field, const char* name, const std::string& where);
float wire_float(const WireField& field, const char* name, const std::string& where);  // finite

}  // namespace sluice::text::internal
