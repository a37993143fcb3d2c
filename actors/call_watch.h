// Whether what a completion says has come to the end of a call (text/tool_calls.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "text/tokenizer.h"

namespace sluice::actors {

// One completion's. The tokenizer outlives it.
class CallWatch {
 public:
  explicit CallWatch(const text::Tokenizer& tokenizer) : tokenizer_(tokenizer), decoder_(tokenizer) {}

  // Adds a token that the policy chose; what stands between the marks when a call is complete with it,
  // wherever tokens end. A call begins at the last mark before its end.
  std::optional<std::string> push(int32_t token);
  // Adds one that it did not choose: no call is in it, and none goes on behind it.
  void skip(int32_t token);

 private:
  std::string text_of(int32_t token);

  const text::Tokenizer& tokenizer_;
  text::StreamingDecoder decoder_;
  std::string tail_;     // what a mark may have begun in; once a call has begun, what it says
  bool inside_ = false;  // a call
};

}  // namespace sluice::actors
