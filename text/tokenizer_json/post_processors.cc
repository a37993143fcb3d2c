#include "base/error.h"
#include "text/tokenizer_json/component.h"
#include "text/tokenizer_json/special_tokens.h"

namespace sluice::text::internal {
namespace {

// What is in use puts one or two ids around a text.
constexpr size_t kMaxAround = 64;

const ComponentTable<Surround>& table();

void require_few(const Surround& around, const std::string& where) {
  const size_t count = around.before.size() + around.after.size();
  require<DataError>(count <= kMaxAround, where, ": ", count, " ids around a text, at most ", kMaxAround,
                     " are read");
}

std::vector<TokenId> read_template_ids(const Json& component, const std::string& name,
                                       const std::string& where) {
  const Json& tokens = json_part(component, "special_tokens", where);
  const std::string place = where + ".special_tokens";
  std::vector<TokenId> out;
  for (const int64_t id : json_member<std::vector<int64_t>>(json_part(tokens, name, place), "ids", place)) {
    require<DataError>(id >= 0 && id <= INT32_MAX, place, ": the id ", id, " of \"", name, "\"");
    out.push_back(static_cast<TokenId>(id));
  }
  return out;
}

// "single": special tokens, the text once, special tokens.
Surround read_template(const Json& component, const std::string& where) {
  Surround out;
  bool behind_text = false;
  const Json& pieces = json_part(component, "single", where);
  require<DataError>(pieces.size() <= kMaxAround + 1, where, ".single: ", pieces.size(), " pieces, at most ",
                     kMaxAround + 1, " are read");
  for (const Json& piece : pieces) {
    const std::string place = where + ".single";
    if (piece.contains("Sequence")) {
      const auto id = json_member<std::string>(json_part(piece, "Sequence", place), "id", place);
      require<DataError>(id == "A" && !behind_text, place,
                         ": a template is supported that has the text A once");
      behind_text = true;
      continue;
    }
    const auto name = json_member<std::string>(json_part(piece, "SpecialToken", place), "id", place);
    auto& side = behind_text ? out.after : out.before;
    const auto ids = read_template_ids(component, name, where);
    side.insert(side.end(), ids.begin(), ids.end());
    require_few(out, place);
  }
  require<DataError>(behind_text, where, ".single: a template without the text");
  return out;
}

// It moves offsets, which nobody asks for here.
Surround read_byte_level(const Json&, const std::string&) { return {}; }

Surround read_sequence(const Json& component, const std::string& where) {
  Surround out;
  for (const auto& outer : read_components(table(), component, "processors", where)) {
    out.before.insert(out.before.begin(), outer.before.begin(), outer.before.end());
    out.after.insert(out.after.end(), outer.after.begin(), outer.after.end());
    require_few(out, where);
  }
  return out;
}

const ComponentTable<Surround>& table() {
  static const ComponentTable<Surround> the_table = {
      {"TemplateProcessing", read_template}, {"ByteLevel", read_byte_level}, {"Sequence", read_sequence}};
  return the_table;
}

}  // namespace

Surround read_post_processor(const Json& component, const std::string& where) {
  return read_component(table(), component, where);
}

}  // namespace sluice::text::internal
