#include "text/chat_prompts.h"

#include <utility>

#include "base/error.h"

namespace sluice::text {
namespace {

class RenderedRows : public Rows {
 public:
  RenderedRows(std::unique_ptr<Rows> rows, std::optional<ChatTemplate> chat, Json tools)
      : rows_(std::move(rows)), chat_(std::move(chat)), tools_(std::move(tools)) {}
  int64_t size() const override { return rows_->size(); }
  int64_t num_left_out() const override { return rows_->num_left_out(); }
  Row at(int64_t index) override {
    Row row = rows_->at(index);
    render_prompt(row, chat_ ? &*chat_ : nullptr, tools_);
    return row;
  }

 private:
  const std::unique_ptr<Rows> rows_;
  const std::optional<ChatTemplate> chat_;
  const Json tools_;
};

}  // namespace

void render_prompt(Row& row, const ChatTemplate* chat, const Json& tools) {
  if (row.messages.is_null() || !row.prompt.empty()) return;
  require<DataError>(chat != nullptr, row.where(),
                     ": the prompt is a conversation, and the model's directory has no chat template");
  auto options = chat_options_of(row.columns);
  if (options.tools.is_null()) options.tools = tools;
  options.add_generation_prompt = true;
  try {
    row.prompt = chat->render(row.messages, options).text;
  } catch (const DataError& error) {
    fail<DataError>(row.where(), ": ", error.what());
  }
  require<DataError>(!row.prompt.empty(), row.where(), ": the chat template writes nothing for the prompt");
}

std::unique_ptr<Rows> rendered(std::unique_ptr<Rows> rows, std::optional<ChatTemplate> chat, Json tools) {
  return std::make_unique<RenderedRows>(std::move(rows), std::move(chat), std::move(tools));
}

}  // namespace sluice::text
