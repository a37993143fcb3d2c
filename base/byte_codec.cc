#include "base/byte_codec.h"

#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/error.h"

namespace sluice {
namespace {

static_assert(std::endian::native == std::endian::little, "records are little-endian, as is the machine");

template <class T>
void append(std::string& out, const T* values, size_t count) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (count > 0) out.append(reinterpret_cast<const char*>(values), count * sizeof(T));
}

template <class T>
void append_counted(std::string& out, const T* values, size_t count) {
  require(count <= std::numeric_limits<uint32_t>::max(), "ByteWriter: ", count,
          " elements do not fit a u32 count");
  const auto short_count = static_cast<uint32_t>(count);
  append(out, &short_count, 1);
  append(out, values, count);
}

template <class T>
T scalar(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

template <class T>
std::vector<T> vector(std::string_view bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace

void ByteWriter::u8(uint8_t value) { append(out_, &value, 1); }
void ByteWriter::u32(uint32_t value) { append(out_, &value, 1); }
void ByteWriter::u64(uint64_t value) { append(out_, &value, 1); }
void ByteWriter::i64(int64_t value) { append(out_, &value, 1); }
void ByteWriter::f32(float value) { append(out_, &value, 1); }
void ByteWriter::f64(double value) { append(out_, &value, 1); }
void ByteWriter::bytes(std::string_view value) { append_counted(out_, value.data(), value.size()); }
void ByteWriter::i64s(const std::vector<int64_t>& values) {
  append_counted(out_, values.data(), values.size());
}
void ByteWriter::i32s(const std::vector<int32_t>& values) {
  append_counted(out_, values.data(), values.size());
}
void ByteWriter::f32s(const std::vector<float>& values) {
  append_counted(out_, values.data(), values.size());
}
void ByteWriter::u8s(const std::vector<uint8_t>& values) {
  append_counted(out_, values.data(), values.size());
}

ByteReader::ByteReader(std::string_view bytes, std::string where) : bytes_(bytes), where_(std::move(where)) {}

std::string_view ByteReader::take(size_t n) {
  require<DataError>(n <= remaining(), where_, ": ", n, " bytes are wanted at offset ", offset_, ", ",
                     remaining(), " are left");
  const auto taken = bytes_.substr(offset_, n);
  offset_ += n;
  return taken;
}

// A count is below 2^32 and an element at most 8 bytes, so the product cannot overflow.
static_assert(sizeof(size_t) == 8);

uint8_t ByteReader::u8() { return scalar<uint8_t>(take(1)); }
uint32_t ByteReader::u32() { return scalar<uint32_t>(take(4)); }
uint64_t ByteReader::u64() { return scalar<uint64_t>(take(8)); }
int64_t ByteReader::i64() { return scalar<int64_t>(take(8)); }
float ByteReader::f32() { return scalar<float>(take(4)); }
double ByteReader::f64() { return scalar<double>(take(8)); }
std::string_view ByteReader::bytes() { return take(u32()); }
std::vector<int64_t> ByteReader::i64s() { return vector<int64_t>(take(size_t{u32()} * 8)); }
std::vector<int32_t> ByteReader::i32s() { return vector<int32_t>(take(size_t{u32()} * 4)); }
std::vector<float> ByteReader::f32s() { return vector<float>(take(size_t{u32()} * 4)); }
std::vector<uint8_t> ByteReader::u8s() { return vector<uint8_t>(take(u32())); }

void ByteReader::finish() const {
  require<DataError>(remaining() == 0, where_, ": ", remaining(), " bytes are left over at offset ", offset_);
}

}  // namespace sluice
