// The examples of each step, read and tokenised when the step comes.
#pragma once

#include <cstdint>
#include <vector>

#include "sft/example_order.h"
#include "sft/tokenize.h"
#include "text/dataset.h"

namespace sluice::sft {

// One thread owns it. Tokenizer and template outlive it; the template is null where there is none.
class ExampleStream {
 public:
  ExampleStream(std::vector<text::WeightedRows> datasets, const text::Tokenizer& tokenizer,
                const text::ChatTemplate* chat, const TokenizeOptions& options, uint64_t seed);

  // The examples first .. first + count of the endless order, in it. Those without a target are left out: a
  // step of some others would not be the same for a run that is resumed. Throws as Rows::at() and tokenize()
  // do.
  std::vector<Example> take(int64_t first, int64_t count);

 private:
  std::vector<text::WeightedRows> datasets_;
  const text::Tokenizer& tokenizer_;
  const text::ChatTemplate* const chat_;
  const TokenizeOptions options_;
  ExampleOrder order_;
};

}  // namespace sluice::sft
