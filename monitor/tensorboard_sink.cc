#include "monitor/tensorboard_sink.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <system_error>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/error.h"

namespace sluice::monitor {
namespace {

constexpr size_t kBuckets = 30;
constexpr size_t kTextBytes = 8 << 10;

// The parts of a protocol buffer that an Event takes; field numbers are those of event.proto, summary.proto
// and tensor.proto.
class Message {
 public:
  const std::string& bytes() const { return bytes_; }

  Message& integer(int field, uint64_t value) {
    varint(static_cast<uint64_t>(field) << 3);
    varint(value);
    return *this;
  }
  Message& float64(int field, double value) {
    varint(static_cast<uint64_t>(field) << 3 | 1);
    little_endian(std::bit_cast<uint64_t>(value), 8);
    return *this;
  }
  Message& float32(int field, float value) {
    varint(static_cast<uint64_t>(field) << 3 | 5);
    little_endian(std::bit_cast<uint32_t>(value), 4);
    return *this;
  }
  Message& text(int field, std::string_view value) {
    varint(static_cast<uint64_t>(field) << 3 | 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  Message& message(int field, const Message& value) { return text(field, value.bytes_); }
  Message& packed(int field, const std::vector<double>& values) {
    Message all;
    for (const double value : values) all.little_endian(std::bit_cast<uint64_t>(value), 8);
    return message(field, all);
  }
  void little_endian(uint64_t value, int num_bytes) {
    for (int i = 0; i < num_bytes; ++i) bytes_ += static_cast<char>(value >> (8 * i) & 0xFF);
  }

 private:
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>((value & 0x7F) | 0x80);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

Message event(double wall_time, int64_t step) {
  return std::move(Message().float64(1, wall_time).integer(2, static_cast<uint64_t>(step)));
}

Message histogram(const std::vector<double>& values) {
  const auto [low, high] = std::ranges::minmax(values);
  const double width = (high - low) / kBuckets;
  double sum = 0, squares = 0;
  std::vector<double> limits, counts(width > 0 ? kBuckets : 1);
  for (size_t i = 1; i < counts.size(); ++i) limits.push_back(low + width * static_cast<double>(i));
  limits.push_back(high);
  for (const double value : values) {
    sum += value;
    squares += value * value;
    const auto bucket = width > 0 ? static_cast<size_t>((value - low) / width) : 0;
    ++counts[std::min(bucket, counts.size() - 1)];
  }
  Message out;
  out.float64(1, low).float64(2, high).float64(3, static_cast<double>(values.size()));
  return std::move(out.float64(4, sum).float64(5, squares).packed(6, limits).packed(7, counts));
}

// Markdown takes lines indented by four for code, and so for what they are.
std::string as_code(const std::string& text) {
  // What is no UTF-8 becomes the character for that; the JSON library knows how.
  const auto valid =
      Json::parse(Json(text.substr(0, kTextBytes)).dump(-1, ' ', false, Json::error_handler_t::replace));
  std::string out = "    ";
  // A carriage return ends a line there, too.
  for (const char c : valid.get<std::string>()) out += c == '\n' || c == '\r' ? "\n    " : std::string(1, c);
  return out;
}

Message text_value(const std::string& tag, const std::string& text) {
  constexpr uint64_t kStrings = 7;  // DT_STRING
  Message plugin, metadata, tensor, value;
  metadata.message(1, plugin.text(1, "text"));
  tensor.integer(1, kStrings).message(2, {}).text(8, as_code(text));
  return std::move(value.text(1, tag).message(9, metadata).message(8, tensor));
}

std::string file_name() {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host = {"localhost"};
  return "events.out.tfevents." + std::to_string(static_cast<int64_t>(wall_seconds())) + "." + host.data() +
         "." + std::to_string(getpid()) + ".0";
}

}  // namespace

uint32_t masked_crc32c(std::string_view bytes) {
  constexpr uint32_t kMask = 0xA282EAD8;
  return std::rotr(crc32c(bytes), 15) + kMask;
}

TensorboardSink::TensorboardSink(const std::filesystem::path& folder, int64_t last_step)
    : path_(folder / file_name()), file_(std::fopen(path_.c_str(), "ae")) {
  require<EnvironmentError>(file_ != nullptr, "cannot open ", path_.string(), ": ",
                            std::generic_category().message(errno));
  append(event(wall_seconds(), 0).text(3, "brain.Event:2").bytes());
  if (last_step == 0) return;
  constexpr uint64_t kStart = 1;
  append(event(wall_seconds(), last_step + 1).message(7, Message().integer(1, kStart)).bytes());
}

TensorboardSink::~TensorboardSink() { std::fclose(file_); }

void TensorboardSink::append(std::string_view event) {
  Message record;
  record.little_endian(event.size(), 8);
  record.little_endian(masked_crc32c(record.bytes()), 4);
  Message end;
  end.little_endian(masked_crc32c(event), 4);
  const std::string bytes = record.bytes() + std::string(event) + end.bytes();
  const bool written =
      std::fwrite(bytes.data(), 1, bytes.size(), file_) == bytes.size() && std::fflush(file_) == 0;
  require<EnvironmentError>(written, "cannot write ", path_.string(), ": ",
                            std::generic_category().message(errno));
}

void TensorboardSink::write(const StepReport& report, const StepDetail& detail) {
  Message summary;
  for (const auto& [name, number] : report.metrics) {
    if (!std::isfinite(number)) continue;
    summary.message(1, Message().text(1, name).float32(2, static_cast<float>(number)));
  }
  for (const auto& [name, values] : detail.distributions) {
    if (values.empty() || !std::ranges::all_of(values, [](double v) { return std::isfinite(v); })) continue;
    summary.message(1, Message().text(1, name).message(5, histogram(values)));
  }
  for (const auto& [name, text] : detail.texts) summary.message(1, text_value(name, text));
  append(event(report.wall_time, report.step).message(5, summary).bytes());
}

}  // namespace sluice::monitor
