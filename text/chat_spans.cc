#include "text/chat_spans.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace sluice::text {
namespace {

constexpr std::string_view kBlank = " \t\r\n";

bool is_answer(const Json& message) {
  return message.is_object() && message.value("role", Json()) == "assistant";
}

size_t common_suffix(std::string_view a, std::string_view b) {
  const auto [in_a, in_b] = std::mismatch(a.rbegin(), a.rend(), b.rbegin(), b.rend());
  return static_cast<size_t>(in_a - a.rbegin());
}

// One conversation under one template.
class Conversation {
 public:
  Conversation(const ChatTemplate& chat, const Json& messages, const ChatOptions& options)
      : chat_(chat), messages_(messages), options_(options), whole_(render(messages.size(), false)) {}

  const RenderedChat& whole() const { return whole_; }

  // Where message i begins when the model says it: behind the generation prompt.
  size_t begin_of(size_t i) const {
    const std::string asked = render(i, /*add_generation_prompt=*/true).text;
    require<DataError>(whole_.text.starts_with(asked), "chat template: the conversation before message ",
                       i + 1, ", with its generation prompt, is no prefix of the whole ", kRemedy);
    return asked.size();
  }

  // Behind the end-of-turn mark of message i.
  size_t end_of(size_t i, size_t begin) const {
    const std::string told = i + 1 == messages_.size() ? whole_.text : render(i + 1, false).text;
    const std::string closing = closing_after(i);
    require<DataError>(told.ends_with(closing) && told.size() - closing.size() >= begin,
                       "chat template: message ", i + 1, " ends otherwise than a plain one ", kRemedy);
    const size_t end = told.size() - closing.size() + mark_size(closing);
    require<DataError>(whole_.text.starts_with(std::string_view(told).substr(0, end)),
                       "chat template: message ", i + 1,
                       " is rendered otherwise when the conversation goes on ", kRemedy);
    return end;
  }

 private:
  static constexpr const char* kRemedy =
      "(mark what is to be learned with {% generation %}, or let conversations end there)";

  RenderedChat render(size_t count, bool add_generation_prompt) const {
    ChatOptions options = options_;
    options.add_generation_prompt = add_generation_prompt;
    if (count == messages_.size()) return chat_.render(messages_, options);
    Json first = Json::array();
    for (size_t i = 0; i < count; ++i) first.push_back(messages_[i]);
    return chat_.render(first, options);
  }

  // What the template writes behind what the assistant says as message i, when it is the last one: what two
  // renderings have in common whose answers have nothing in common.
  std::string closing_after(size_t i) const {
    const auto ending_in = [&](const char* answer) {
      Json talk = Json::array();
      for (size_t j = 0; j < i; ++j) talk.push_back(messages_[j]);
      talk.push_back({{"role", "assistant"}, {"content", answer}});
      return chat_.render(talk, options_).text;
    };
    const std::string x = ending_in("x"), y = ending_in("y");
    require<DataError>(x != y, "chat template: it does not print what the assistant says as message ", i + 1);
    return x.substr(x.size() - common_suffix(x, y));
  }

  static size_t mark_size(std::string_view closing) {
    const size_t word = closing.find_first_not_of(kBlank);
    return std::min(closing.find_first_of(kBlank, word), closing.size());
  }

  const ChatTemplate& chat_;
  const Json& messages_;
  const ChatOptions& options_;
  const RenderedChat whole_;
};

}  // namespace

ChatSpans learned_spans(const ChatTemplate& chat, const Json& messages, const ChatOptions& options,
                        int64_t first) {
  require<DataError>(messages.is_array(), "chat template: the messages of a conversation are an array, saw ",
                     messages.type_name());
  const auto from = static_cast<size_t>(first);
  require(from <= messages.size(), "learned_spans: message ", first, " of ", messages.size());
  const Conversation conversation(chat, messages, options);
  ChatSpans spans{.text = conversation.whole().text, .learned = {}};
  const auto& marked = conversation.whole().generation;
  if (!marked.empty()) {
    const size_t begin = from == 0 ? 0 : conversation.begin_of(from);
    for (const auto& range : marked) spans.learned.emplace_back(std::max(range.first, begin), range.second);
  } else {
    for (size_t i = from; i < messages.size(); ++i) {
      if (!is_answer(messages[i])) continue;
      const size_t begin = conversation.begin_of(i);
      spans.learned.emplace_back(begin, conversation.end_of(i, begin));
    }
  }
  std::erase_if(spans.learned, [](const ByteRange& range) { return range.first >= range.second; });
  return spans;
}

}  // namespace sluice::text
