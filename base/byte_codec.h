// Little-endian fields in a byte string: the one way binary records are written and read here.
//
// A reader checks every length against what is left before anything is allocated.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice {

class ByteWriter {
 public:
  void u8(uint8_t value);
  void u32(uint32_t value);
  void u64(uint64_t value);
  void i64(int64_t value);
  void f32(float value);
  void f64(double value);
  void bytes(std::string_view value);  // u32 length, then the bytes
  void i64s(const std::vector<int64_t>& values);
  void i32s(const std::vector<int32_t>& values);
  void f32s(const std::vector<float>& values);
  void u8s(const std::vector<uint8_t>& values);

  const std::string& str() const { return out_; }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

// Throws DataError naming `where` and the offset when the bytes end too early or a length is too large.
class ByteReader {
 public:
  ByteReader(std::string_view bytes, std::string where);

  uint8_t u8();
  uint32_t u32();
  uint64_t u64();
  int64_t i64();
  float f32();
  double f64();
  std::string_view bytes();  // points into the input
  std::vector<int64_t> i64s();
  std::vector<int32_t> i32s();
  std::vector<float> f32s();
  std::vector<uint8_t> u8s();

  size_t remaining() const { return bytes_.size() - offset_; }
  // Throws DataError when something is left over.
  void finish() const;

 private:
  std::string_view take(size_t n);
  std::string_view bytes_;
  size_t offset_ = 0;
  const std::string where_;
};

}  // namespace sluice
