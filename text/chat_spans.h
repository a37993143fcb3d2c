// A conversation as text, and what of it the model is to learn (spec section 11.1).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/chat_template.h"
#include "text/token_map.h"

namespace sluice::text {

struct ChatSpans {
  std::string text;                // of the whole conversation, without a generation prompt
  std::vector<ByteRange> learned;  // of `text`, in order, none of them empty
};

// What the assistant says from message `first` on (0 .. messages), a range a turn.
//
// A template with {% generation %} blocks says it itself: they are taken as they are. Of any other, a turn
// begins where the conversation before it, with its generation prompt, ends: there the model is asked. It
// ends with its end-of-turn mark, which is learned too, because the model has to say it: the first word that
// the template writes behind a message ("<|im_end|>" of "<|im_end|>\n"; behind that, line ends and what
// closes the conversation are nobody's), or the white space there when there is no word.
//
// Throws DataError naming the turn when what is rendered up to it is no prefix of the whole, as in templates
// that drop the thoughts of earlier turns: the text that is trained on is then not what the model is asked.
ChatSpans learned_spans(const ChatTemplate& chat, const Json& messages, const ChatOptions& options = {},
                        int64_t first = 0);

}  // namespace sluice::text
