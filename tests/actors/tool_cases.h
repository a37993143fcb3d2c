// Tokens of which a network with random weights makes calls, and a tool for them to call.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "rewards/tools.h"
#include "tests/actors/actor_cases.h"

namespace sluice::actors {

inline constexpr int32_t kCall = 5, kCallEnd = 6, kBadCall = 7;

// 23 ids: three that begin and end calls of `echo` with what stands between them, letters otherwise.
class CallTokenizer final : public text::Tokenizer {
 public:
  std::vector<text::TokenId> encode(std::string_view text, text::Specials) const override {
    std::vector<text::TokenId> ids;
    for (const char letter : text) ids.push_back(letter >= 'a' && letter < 'o' ? letter - 'a' + 8 : 3);
    return ids;
  }
  std::vector<text::TokenId> with_specials(std::vector<text::TokenId> ids) const override { return ids; }
  std::string decode(std::span<const text::TokenId> ids, bool) const override {
    std::string text;
    for (const auto id : ids) {
      if (id == kCall) {
        text += R"(<tool_call>{"name": "echo", "arguments": ")";
      } else if (id == kCallEnd) {
        text += R"("}</tool_call>)";
      } else if (id == kBadCall) {
        text += "<tool_call>?</tool_call>";
      } else if (id >= 8) {
        text += static_cast<char>('a' + id - 8);
      }
    }
    return text;
  }
  std::optional<text::TokenId> find(std::string_view) const override { return std::nullopt; }
  int64_t vocab_size() const override { return 23; }
  std::optional<text::TokenId> bos_id() const override { return std::nullopt; }
  std::optional<text::TokenId> eos_id() const override { return kEos; }
  std::optional<text::TokenId> pad_id() const override { return std::nullopt; }
  const std::string& hash() const override { return hash_; }
  void save(const std::filesystem::path&) const override {}

 private:
  const std::string hash_ = "calls";
};

// Says what it was told backwards; `before` is done first, and `interrupted` when nobody waits any more.
class Echo final : public rewards::Tool {
 public:
  explicit Echo(std::function<void()> before = {}, std::function<void()> interrupted = {})
      : before_(std::move(before)), interrupted_(std::move(interrupted)) {}
  const std::string& name() const override { return name_; }
  Json description() const override { return nullptr; }
  rewards::ToolAnswer call(const Json& arguments) override {
    if (before_) before_();
    const auto text = arguments.get<std::string>();
    return {std::string(text.rbegin(), text.rend()), /*failed=*/text.empty()};
  }
  void interrupt() override {
    if (interrupted_) interrupted_();
  }

 private:
  const std::string name_ = "echo";
  const std::function<void()> before_, interrupted_;
};

inline rewards::Toolbox echo_box(std::function<void()> before = {}, std::function<void()> interrupted = {}) {
  std::vector<std::unique_ptr<rewards::Tool>> tools;
  tools.push_back(std::make_unique<Echo>(std::move(before), std::move(interrupted)));
  return rewards::Toolbox(std::move(tools));
}

// "n" around what a tool says, so id 21.
inline const text::ObservationForm kBetweenNs = {"n", "n"};
inline constexpr int32_t kN = 21;

}  // namespace sluice::actors
