#include "text/internal/line_index.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/error.h"

namespace sluice::text::internal {
namespace {

constexpr size_t kBlockBytes = 1u << 20;

}  // namespace

LineIndex::LineIndex(const std::filesystem::path& file) : file_(file.string()) {
  require<DataError>(!std::filesystem::is_directory(file), file_, ": is a folder, not a file of JSON lines");
  stream_.open(file, std::ios::binary);
  require<DataError>(stream_.is_open(), file_, ": cannot be opened: ", std::strerror(errno));
  add_lines();
  require<DataError>(!stream_.bad(), file_, ": cannot be read to its end: ", std::strerror(errno));
}

// By blocks, so that a file that is one long line takes no memory either.
void LineIndex::add_lines() {
  std::string block(kBlockBytes, '\0');
  int64_t block_begin = 0, line_begin = 0;
  bool blank = true;
  const auto end_line = [&] {
    if (blank) {
      blank_before_.push_back(size());
    } else {
      offsets_.push_back(line_begin);
    }
    blank = true;
  };
  while (stream_.read(block.data(), std::ssize(block)), stream_.gcount() > 0) {
    const std::string_view bytes(block.data(), static_cast<size_t>(stream_.gcount()));
    for (size_t at = 0; at < bytes.size();) {
      const size_t end = std::min(bytes.find('\n', at), bytes.size());
      blank = blank && bytes.substr(at, end - at).find_first_not_of(" \t\r") == std::string_view::npos;
      at = end + 1;
      if (end == bytes.size()) break;
      end_line();
      line_begin = block_begin + static_cast<int64_t>(at);
    }
    block_begin += std::ssize(bytes);
  }
  if (!blank) end_line();  // the last line has no end
  offsets_.shrink_to_fit();
}

int64_t LineIndex::number(int64_t index) const {
  const auto after = std::upper_bound(blank_before_.begin(), blank_before_.end(), index);
  return index + 1 + (after - blank_before_.begin());
}

std::string LineIndex::read(int64_t index) {
  const int64_t offset = offsets_.at(static_cast<size_t>(index));
  if (offset != position_) {  // a seek throws away what has been read ahead
    stream_.clear();
    stream_.seekg(offset);
  }
  std::string line;
  std::getline(stream_, line);
  position_ = stream_.good() ? offset + std::ssize(line) + 1 : -1;
  require<DataError>(!stream_.fail(), file_, ":", number(index),
                     ": the file ends before this line; it has been changed while it was read");
  return line;
}

}  // namespace sluice::text::internal
