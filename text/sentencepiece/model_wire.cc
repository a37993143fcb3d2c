#include "text/sentencepiece/model_wire.h"

#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "text/internal/utf8.h"

namespace sluice::text::internal {
namespace {

constexpr uint64_t kMaxFieldNumber = (1u << 29) - 1;
constexpr int kVarintBytes = 10;

void expect(const WireField& field, WireType type, const char* name, const std::string& where) {
  require<DataError>(field.type == type, where, ": byte ", field.offset, ": ", name, " has wire type ",
                     static_cast<int>(field.type), ", wants ", static_cast<int>(type));
}

}  // namespace

uint64_t WireReader::varint(const char* what) {
  const size_t begin = at_;
  uint64_t value = 0;
  for (int i = 0; i < kVarintBytes; ++i) {
    require<DataError>(at_ < message_.size(), where_, ": byte ", offset_ + begin, ": ", what,
                       " is cut short");
    const auto byte = static_cast<unsigned char>(message_[at_++]);
    require<DataError>(i + 1 < kVarintBytes || byte <= 1, where_, ": byte ", offset_ + begin, ": ", what,
                       " is longer than 64 bits");
    value |= static_cast<uint64_t>(byte & 0x7F) << (7 * i);
    if (byte < 0x80) break;
  }
  return value;
}

uint64_t WireReader::fixed(size_t num_bytes) {
  require<DataError>(message_.size() - at_ >= num_bytes, where_, ": byte ", offset_ + at_, ": a number of ",
                     num_bytes, " bytes is cut short");
  uint64_t value = 0;
  for (size_t i = 0; i < num_bytes; ++i) {
    value |= static_cast<uint64_t>(static_cast<unsigned char>(message_[at_++])) << (8 * i);
  }
  return value;
}

bool WireReader::next(WireField& field) {
  if (at_ == message_.size()) return false;
  field = {};
  field.offset = offset_ + at_;
  const uint64_t tag = varint("a field's tag");
  require<DataError>(tag >> 3 >= 1 && tag >> 3 <= kMaxFieldNumber, where_, ": byte ", field.offset,
                     ": there is no field number ", tag >> 3);
  field.number = static_cast<uint32_t>(tag >> 3);
  field.type = static_cast<WireType>(tag & 7);
  switch (field.type) {
    case WireType::Varint:
      field.value = varint("a number");
      return true;
    case WireType::Fixed64:
      field.value = fixed(8);
      return true;
    case WireType::Fixed32:
      field.value = fixed(4);
      return true;
    case WireType::Bytes: {
      const uint64_t length = varint("a length");
      require<DataError>(length <= message_.size() - at_, where_, ": byte ", field.offset, ": field ",
                         field.number, " has ", length, " bytes, but ", message_.size() - at_, " are left");
      field.bytes_offset = offset_ + at_;
      field.bytes = message_.substr(at_, static_cast<size_t>(length));
      at_ += field.bytes.size();
      return true;
    }
  }
  fail<DataError>(where_, ": byte ", field.offset, ": wire type ", tag & 7, " has no place in a model");
}

std::string_view wire_bytes(const WireField& field, const char* name, const std::string& where) {
  expect(field, WireType::Bytes, name, where);
  return field.bytes;
}

std::string_view wire_text(const WireField& field, const char* name, const std::string& where) {
  const auto text = wire_bytes(field, name, where);
  const size_t valid = valid_utf8_prefix(text);
  require<DataError>(valid == text.size(), where, ": byte ", field.bytes_offset + valid, ": ", name,
                     " is not UTF-8");
  require<DataError>(text.find('\0') == std::string_view::npos, where, ": byte ", field.bytes_offset, ": ",
                     name, " holds a zero byte");
  return text;
}

int32_t wire_integer(const WireField& field, const char* name, const std::string& where) {
  expect(field, WireType::Varint, name, where);
  const auto value = static_cast<int64_t>(field.value);
  require<DataError>(
      value >= std::numeric_limits<int32_t>::min() && value <= std::numeric_limits<int32_t>::max(), where,
      ": byte ", field.offset, ": ", name, " is ", value, ", more than 32 bits");
  return static_cast<int32_t>(value);
}

bool wire_boolean(const WireField& field, const char* name, const std::string& where) {
  expect(field, WireType::Varint, name, where);
  require<DataError>(field.value <= 1, where, ": byte ", field.offset, ": ", name, " is ", field.value,
                     ", neither true nor false");
  return field.value == 1;
}

float wire_float(const WireField& field, const char* name, const std::string& where) {
  expect(field, WireType::Fixed32, name, where);
  const auto value = std::bit_cast<float>(static_cast<uint32_t>(field.value));
  require<DataError>(std::isfinite(value), where, ": byte ", field.offset, ": ", name, " is ", value,
                     ", not a finite number");
  return value;
}

}  // namespace sluice::text::internal
