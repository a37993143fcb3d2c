#include "text/tokenizer_json/pre_tokenizers.h"

namespace sluice::text::internal {
namespace {

// Takes a text part by part, matches and what is between them, and joins the parts that belong together.
class Cutter {
 public:
  Cutter(CutBehavior behavior, std::vector<Range>& out)
      : behavior_(behavior), out_(out), begin_(out.size()) {}

  void add(Range part, bool is_match) {
    if (belongs_to_last(is_match)) {
      out_.back().end = part.end;
    } else if (behavior_ != CutBehavior::Removed || !is_match) {
      out_.push_back(part);
    }
    last_is_match_ = is_match;
  }

 private:
  bool belongs_to_last(bool is_match) const {
    if (out_.size() == begin_) return false;
    switch (behavior_) {
      case CutBehavior::Contiguous:
        return is_match == last_is_match_;
      case CutBehavior::MergedWithPrevious:
        return is_match && !last_is_match_;
      case CutBehavior::MergedWithNext:
        return !is_match && last_is_match_;
      default:
        return false;
    }
  }

  const CutBehavior behavior_;
  std::vector<Range>& out_;
  const size_t begin_;
  bool last_is_match_ = false;
};

}  // namespace

void cut_at(const std::vector<Range>& matches, size_t size, CutBehavior behavior, bool inverted,
            std::vector<Range>& out) {
  Cutter cutter(behavior, out);
  size_t done = 0;
  for (const auto& match : matches) {
    if (match.begin > done) cutter.add({done, match.begin}, inverted);
    cutter.add(match, !inverted);
    done = match.end;
  }
  if (size > done) cutter.add({done, size}, inverted);
  std::erase_if(out, [](const Range& range) { return range.begin == range.end; });
}

}  // namespace sluice::text::internal
