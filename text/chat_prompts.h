// Prompts that are conversations, as the text that a model is asked.
#pragma once

#include <memory>
#include <optional>

#include "text/chat_template.h"
#include "text/dataset.h"

namespace sluice::text {

// Gives a row that is asked by its messages alone its text: what the template writes for them, and where the
// assistant's turn begins. The columns "tools" and "chat_template_kwargs" go to the template. Any other row
// is left as it is. Throws DataError naming file and line when there is no template, and for a conversation
// that the template does not take. A row without the column "tools" has `tools`, an array or null.
void render_prompt(Row& row, const ChatTemplate* chat, const Json& tools = nullptr);

// The same rows, each so when it is read.
std::unique_ptr<Rows> rendered(std::unique_ptr<Rows> rows, std::optional<ChatTemplate> chat,
                               Json tools = nullptr);

}  // namespace sluice::text
