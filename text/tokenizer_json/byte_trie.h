// Finds which of many strings begin at a place in a text.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::text::internal {

class ByteTrie {
 public:
  static constexpr int32_t kNoValue = -1;

  ByteTrie() : ByteTrie(std::vector<std::pair<std::string, int32_t>>{}, "") {}
  // Values are not negative; of equal strings the last counts. Throws DataError naming `where` when the
  // strings are too many or too long together.
  ByteTrie(std::vector<std::pair<std::string, int32_t>> entries, const std::string& where);

  // Whether any string begins with this byte.
  bool begins(char byte) const { return root_[static_cast<unsigned char>(byte)] != 0; }

  // Calls visit(length, value) for each string that `text` has at `offset`, the shortest first.
  template <class Visit>
  void visit_prefixes(std::string_view text, size_t offset, Visit&& visit) const {
    if (offset >= text.size()) return;
    uint32_t node = root_[static_cast<unsigned char>(text[offset])];
    for (size_t at = offset + 1; node != 0; ++at) {
      if (nodes_[node].value != kNoValue) visit(at - offset, nodes_[node].value);
      if (at == text.size()) return;
      node = child(node, static_cast<unsigned char>(text[at]));
    }
  }

 private:
  struct Node {
    uint32_t first_edge = 0;
    uint32_t num_edges = 0;
    int32_t value = kNoValue;
  };

  uint32_t child(uint32_t node, unsigned char byte) const;

  std::array<uint32_t, 256> root_{};  // node of a first byte; 0 for none, since node 0 is the root
  std::vector<Node> nodes_;
  std::vector<unsigned char> labels_;  // of the edges of a node, ascending
  std::vector<uint32_t> targets_;      // of the same edges
};

}  // namespace sluice::text::internal
