#include "text/tokenizer_json/byte_trie.h"

#include <algorithm>

#include "base/error.h"

namespace sluice::text::internal {
namespace {

constexpr size_t kMaxNodes = 1u << 24;

// Sorted entries [first, last) that share the first `depth` bytes, which are the way to `node`.
struct Branch {
  uint32_t node;
  size_t first;
  size_t last;
  size_t depth;
};

}  // namespace

ByteTrie::ByteTrie(std::vector<std::pair<std::string, int32_t>> entries, const std::string& where)
    : nodes_(1) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Branch> branches = {{0, 0, entries.size(), 0}};
  for (size_t next = 0; next < branches.size(); ++next) {
    const Branch branch = branches[next];
    size_t i = branch.first;
    for (; i < branch.last && entries[i].first.size() == branch.depth; ++i) {
      nodes_[branch.node].value = entries[i].second;
    }
    nodes_[branch.node].first_edge = static_cast<uint32_t>(labels_.size());
    while (i < branch.last) {
      const char label = entries[i].first[branch.depth];
      const size_t begin = i;
      while (i < branch.last && entries[i].first[branch.depth] == label) ++i;
      require<DataError>(nodes_.size() < kMaxNodes, where, ": tokens of more than ", kMaxNodes,
                         " bytes that no two of them share");
      const auto target = static_cast<uint32_t>(nodes_.size());
      nodes_.emplace_back();
      labels_.push_back(static_cast<unsigned char>(label));
      targets_.push_back(target);
      branches.push_back({target, begin, i, branch.depth + 1});
    }
    nodes_[branch.node].num_edges = static_cast<uint32_t>(labels_.size()) - nodes_[branch.node].first_edge;
  }
  for (uint32_t edge = 0; edge < nodes_[0].num_edges; ++edge) root_[labels_[edge]] = targets_[edge];
}

uint32_t ByteTrie::child(uint32_t node, unsigned char byte) const {
  const auto first = labels_.begin() + nodes_[node].first_edge;
  const auto last = first + nodes_[node].num_edges;
  const auto found = std::lower_bound(first, last, byte);
  return found != last && *found == byte ? targets_[static_cast<size_t>(found - labels_.begin())] : 0;
}

}  // namespace sluice::text::internal
