// Whether what a completion says has come to a text that ends it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace sluice::actors {

// One completion's. The tokenizer and the texts outlive it.
class StopText {
 public:
  StopText(const text::Tokenizer& tokenizer, const std::vector<std::string>& stops);

  // Adds a token that the policy chose; true when one of the texts is complete with it, wherever tokens end.
  bool push(int32_t token);
  // Adds one that it did not choose: that ends nothing, and no text goes on behind it.
  void skip(int32_t token);

 private:
  std::string text_of(int32_t token);

  const text::Tokenizer& tokenizer_;
  const std::vector<std::string>& stops_;
  text::StreamingDecoder decoder_;
  std::string tail_;  // what a text may have begun in
};

// The part of `text` before the first of these in it.
std::string before_stop(std::string text, const std::vector<std::string>& stops);

}  // namespace sluice::actors
