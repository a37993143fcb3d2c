// Where the lines of a file begin, so that any of them can be read without those before it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace sluice::text::internal {

// The lines that are not blank: 8 bytes are kept of each, and of each blank one. Holds the file open; one
// thread owns it.
class LineIndex {
 public:
  // Reads the file once. Throws DataError for one that cannot be read.
  explicit LineIndex(const std::filesystem::path& file);

  int64_t size() const { return static_cast<int64_t>(offsets_.size()); }
  // The line's number in the file, from 1.
  int64_t number(int64_t index) const;
  // Its bytes, without the line end. Throws DataError "file:line: ..." when the file has become shorter.
  std::string read(int64_t index);

 private:
  void add_lines();

  const std::string file_;
  std::ifstream stream_;
  int64_t position_ = -1;  // of the stream, -1 when it is not known
  std::vector<int64_t> offsets_;
  std::vector<int64_t> blank_before_;  // for each blank line, how many others stand before it; ascending
};

}  // namespace sluice::text::internal
