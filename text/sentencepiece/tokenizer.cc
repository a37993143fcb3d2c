#include "text/sentencepiece/tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "text/internal/spelling.h"
#include "text/internal/unicode.h"
#include "text/tokenizer.h"

namespace sluice::text::internal {
namespace {

// The library counts bytes of normalized text in int, and a rule may put this many bytes in place of one.
constexpr size_t kMaxTextBytes = (size_t{1} << 31) / kMaxReplacementBytes - 1;
constexpr int64_t kMaxHoles = 4096;  // ids that nothing has, among those of added tokens
constexpr int kSilent = 4;           // above SentencePiece's highest level
// Appended to a model: a message of a protocol buffer that comes again replaces what it has fields for.
// Field 3 (normalizer_spec), 2 bytes: field 3 (add_dummy_prefix) = false.
constexpr std::string_view kNoDummyPrefix("\x1a\x02\x18\x00", 4);
// No piece is spelled so: pieces are UTF-8.
constexpr std::string_view kNoPiece = "\xff";

void load(sentencepiece::SentencePieceProcessor& processor, const std::string& model,
          const std::string& where) {
  std::string problem;
  try {
    const auto status = processor.LoadFromSerializedProto(model);
    if (!status.ok()) problem = status.message();
  } catch (const std::exception& error) {  // of its double array
    problem = error.what();
  }
  require<DataError>(problem.empty(), where, ": not a SentencePiece model: ", problem);
}

// SHA-256 of the model, and of what beside it changes ids: added tokens and where spaces are put.
std::string hash_of(const std::string& model, const SentencePieceSettings& settings, const Json& spaces) {
  Json beside = Json::array();
  for (const auto& [id, token] : settings.added) {
    beside.push_back({id, token.content, token.single_word, token.lstrip, token.rstrip, token.special});
  }
  if (!spaces.is_null()) beside.push_back(spaces);
  return sha256_hex(beside.empty() ? model : model + beside.dump());
}

// A piece as it is in a text.
std::string with_spaces(std::string_view piece) {
  std::string out;
  for (size_t at = 0; at < piece.size();) {
    const bool space = piece.substr(at).starts_with(kSpaceMark);
    out += space ? ' ' : piece[at];
    at += space ? kSpaceMark.size() : 1;
  }
  return out;
}

}  // namespace

void silence_sentencepiece() {
  [[maybe_unused]] static const bool once = (sentencepiece::SetMinLogLevel(kSilent), true);
}

SentencePieceTokenizer::SentencePieceTokenizer(std::string model, TokenizerFiles files,
                                               const std::string& where)
    : model_(std::move(model)), files_(std::move(files)), settings_(read_settings(files_, where)) {
  const auto checked = read_sentencepiece_model(model_, where);
  silence_sentencepiece();
  load(processor_, model_, where);
  Json spaces;  // where they are put, when that is not as the model alone says
  if (checked.add_dummy_prefix && !checked.whitespace_as_suffix) {
    load(without_prefix_, model_ + std::string(kNoDummyPrefix), where);
    const bool unigram = checked.kind == ModelKind::Unigram;
    const bool first = settings_.add_prefix_space.value_or(true), later = settings_.legacy.value_or(unigram);
    inside_ = &without_prefix_;
    if (!first) first_ = &without_prefix_;
    later_ = later ? first_ : &without_prefix_;
    if (!first || later != unigram) spaces = {first, later};
  }
  hash_ = hash_of(model_, settings_, spaces);
  read_tokens(checked, where);
}

void SentencePieceTokenizer::read_tokens(const SentencePieceModel& model, const std::string& where) {
  std::map<TokenId, AddedToken> found_first;
  std::map<TokenId, AddedToken> pieces;
  for (const auto& piece : model.pieces) {
    const bool special = piece.type == PieceType::Control || piece.type == PieceType::Unknown;
    const std::string text(piece.text);
    if (special) found_first[static_cast<TokenId>(tokens_.size())] = {.content = text, .special = true};
    tokens_.push_back({text, special ? Place::Special : Place::Text});
  }
  const int64_t limit = std::ssize(tokens_) + std::ssize(settings_.added) + kMaxHoles;
  for (const auto& [id, added] : settings_.added) {
    require<DataError>(id < limit, where, ": the added token \"", added.content, "\" has the id ", id,
                       " beside ", model.pieces.size(), " pieces");
    if (id >= std::ssize(tokens_)) tokens_.resize(static_cast<size_t>(id) + 1);
    Token& token = tokens_[static_cast<size_t>(id)];
    found_first.insert_or_assign(id, added);
    if (token.text == added.content && token.place == Place::Text && !added.special) continue;
    const bool is_piece = added.special && token.place == Place::Text;
    if (is_piece) pieces[id] = {.content = with_spaces(token.text)};
    token = {added.content, added.special ? Place::Special : Place::Added, is_piece};
  }
  for (const auto& [id, token] : found_first) specials_.emplace(token.content, id);
  finder_.emplace(
      found_first, [](TokenId, const AddedToken& token) { return token.content; }, where);
  piece_finder_.emplace(
      pieces, [](TokenId, const AddedToken& token) { return token.content; }, where);
  const auto choose = [&](const std::string& spelled, int id) -> std::optional<TokenId> {
    if (const auto found = spelled.empty() ? std::nullopt : find(spelled)) return found;
    return id >= 0 && id < vocab_size() ? std::optional<TokenId>(id) : std::nullopt;
  };
  bos_ = choose(settings_.bos, processor_.bos_id());
  eos_ = choose(settings_.eos, processor_.eos_id());
  pad_ = choose(settings_.pad, processor_.pad_id());
}

void SentencePieceTokenizer::append_ids(const sentencepiece::SentencePieceProcessor& processor,
                                        std::string_view text, std::vector<TokenId>& ids) const {
  if (text.empty()) return;
  std::vector<TokenId> more;
  const auto status = processor.Encode(text, &more);
  require(status.ok(), "tokenizer: cannot encode: ", status.message());
  ids.insert(ids.end(), more.begin(), more.end());
}

bool SentencePieceTokenizer::is_clean(std::span<const TokenId> ids) const {
  return std::none_of(ids.begin(), ids.end(),
                      [&](TokenId id) { return tokens_[static_cast<size_t>(id)].is_piece; });
}

void SentencePieceTokenizer::append_as_text(const sentencepiece::SentencePieceProcessor& processor,
                                            std::string_view text, std::vector<TokenId>& ids) const {
  const size_t from = ids.size();
  append_ids(processor, text, ids);
  if (is_clean(std::span(ids).subspan(from))) return;
  std::vector<TextPart> parts;
  piece_finder_->split(text, Specials::Parse, parts);
  std::vector<size_t> cuts = {0};
  for (const auto& part : parts) {
    size_t cut = part.begin + (part.end - part.begin) / 2;
    while (cut < part.end && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) ++cut;
    if (part.id >= 0 && cut > cuts.back() && cut < part.end) cuts.push_back(cut);
  }
  if (cuts.size() == 1) {  // a single character, or text that the model's rules have made the token
    std::replace_if(
        ids.begin() + static_cast<std::ptrdiff_t>(from), ids.end(),
        [&](TokenId id) { return tokens_[static_cast<size_t>(id)].is_piece; }, processor_.unk_id());
    return;
  }
  ids.resize(from);
  cuts.push_back(text.size());
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    append_as_text(i == 0 ? processor : *inside_, text.substr(cuts[i], cuts[i + 1] - cuts[i]), ids);
  }
}

std::vector<TokenId> SentencePieceTokenizer::encode(std::string_view text, Specials specials) const {
  require<DataError>(text.size() <= kMaxTextBytes, "tokenizer: a text of ", text.size(), " bytes, at most ",
                     kMaxTextBytes, " are encoded at once");
  std::string repaired;
  text = as_utf8(text, repaired);
  std::vector<TokenId> ids;
  if (specials == Specials::AsText) {
    append_as_text(*first_, text, ids);
    return ids;
  }
  std::vector<TextPart> parts;
  finder_->split(text, specials, parts);
  for (const auto& part : parts) {
    if (part.id >= 0) {
      ids.push_back(part.id);
    } else {
      append_ids(part.begin == 0 ? *first_ : *later_, text.substr(part.begin, part.end - part.begin), ids);
    }
  }
  return ids;
}

std::vector<TokenId> SentencePieceTokenizer::with_specials(std::vector<TokenId> ids) const {
  if (settings_.add_bos && bos_) ids.insert(ids.begin(), *bos_);
  if (settings_.add_eos && eos_) ids.push_back(*eos_);
  return ids;
}

std::optional<TokenId> SentencePieceTokenizer::find(std::string_view token) const {
  if (const auto found = specials_.find(token); found != specials_.end()) return found->second;
  const auto id = processor_.PieceToId(token);
  return id >= 0 && tokens_[static_cast<size_t>(id)].text == token ? std::optional<TokenId>(id)
                                                                   : std::nullopt;
}

// What the library makes of pieces that follow each other. It takes the dummy prefix away from the first
// piece of all; a piece it does not know stands before those that are not.
void SentencePieceTokenizer::append_text(std::vector<std::string_view>& pieces, std::string& text) const {
  if (pieces.empty()) return;
  const bool inside = !text.empty() || first_ == &without_prefix_;
  if (inside) pieces.insert(pieces.begin(), kNoPiece);
  std::string more;
  const auto status = processor_.Decode(pieces, &more);
  require(status.ok(), "tokenizer: cannot decode: ", status.message());
  text.append(more, inside ? kNoPiece.size() : 0);
  pieces.clear();
}

std::string SentencePieceTokenizer::decode(std::span<const TokenId> ids, bool keep_specials) const {
  std::vector<std::string_view> pieces;
  std::string text;
  for (const TokenId id : ids) {
    const std::string& token = piece(id);
    const Place place = tokens_[static_cast<size_t>(id)].place;
    if (place == Place::Text) {
      pieces.push_back(token);
    } else if (place == Place::Added || keep_specials) {
      append_text(pieces, text);
      text += token;
    }
  }
  append_text(pieces, text);
  return text;
}

const std::string& SentencePieceTokenizer::piece(TokenId id) const {
  require(id >= 0 && id < vocab_size(), "tokenizer: the id ", id, " is not in a vocabulary of ",
          vocab_size());
  return tokens_[static_cast<size_t>(id)].text;
}

bool SentencePieceTokenizer::is_special(TokenId id) const {
  piece(id);
  return tokens_[static_cast<size_t>(id)].place == Place::Special;
}

std::string SentencePieceTokenizer::special_tokens() const {
  Json out = Json::object();
  const auto add = [&](const char* name, std::optional<TokenId> id) {
    if (id) out[name] = piece(*id);
  };
  add("bos_token", bos_);
  add("eos_token", eos_);
  add("unk_token", processor_.unk_id());
  add("pad_token", pad_);
  return out.dump(2) + "\n";
}

std::string SentencePieceTokenizer::config() const {
  // LlamaTokenizer builds itself from tokenizer.model, and only the pairs of a bpe come out right: the other
  // class takes tokenizer.json as it is, and is exact in transformers 4 and 5.
  const bool fast = files_.contains(kTokenizerJson);
  // The model may put a space before every text; who reads this file must be told.
  const auto ids = encode("a", Specials::AsText);
  Json out = {{"tokenizer_class", fast ? "PreTrainedTokenizerFast" : "LlamaTokenizer"},
              {"add_bos_token", false},
              {"add_eos_token", false},
              {"add_prefix_space", !ids.empty() && piece(ids[0]).starts_with("▁")},
              {"legacy", false},
              {"clean_up_tokenization_spaces", false}};
  out.update(Json::parse(special_tokens()));
  return out.dump(2) + "\n";
}

TokenizerFiles SentencePieceTokenizer::files() const {
  TokenizerFiles files = files_;
  files.try_emplace(kTokenizerConfig, config());
  files.try_emplace(kSpecialTokensMap, special_tokens());
  files.insert_or_assign(kTokenizerModel, model_);
  return files;
}

void SentencePieceTokenizer::save(const std::filesystem::path& directory) const {
  std::filesystem::create_directories(directory);
  for (const auto& [name, bytes] : files()) write_file_atomically(directory / name, bytes);
}

}  // namespace sluice::text::internal
