// Where in a completion its answer stands.
#pragma once

#include <initializer_list>
#include <optional>
#include <string_view>

namespace sluice::rewards::internal {

struct FinalAnswer {
  std::string_view text;  // without blanks around it, quotes, ** and the mark that ends a sentence
  bool marked = false;    // by one of the marks below; else `text` is all there was
};

// The first of these that the completion has, looked for again inside <answer>; each time the last one of its
// kind:
//   <answer>...</answer>
//   \boxed{...} or \fbox{...} whose braces close
//   #### ... at the beginning of a line, up to its end
//   "answer is ...", "answer: ..." or "answer = ..." in any case, up to the end of the sentence
// In one pass over it, whatever it holds.
FinalAnswer final_answer(std::string_view completion);

// What stands between the last <answer> that is closed and its </answer>.
std::optional<std::string_view> last_tagged(std::string_view text);

// The rest of the last line that begins with one of `marks`.
std::optional<std::string_view> last_line_after(std::string_view text,
                                                std::initializer_list<std::string_view> marks);

// Without blanks, line ends and the like around it.
std::string_view trim(std::string_view text);

}  // namespace sluice::rewards::internal
