#include "text/tokenizer_json/json_tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "text/internal/spelling.h"
#include "text/internal/unicode.h"

namespace sluice::text::internal {
namespace {

constexpr size_t kMaxTextBytes = 1u << 30;
constexpr Millis kMaxNormalizeMs = 10'000;  // for all added tokens

template <class Finder>
std::map<TokenId, AddedToken> select(const std::map<TokenId, AddedToken>& tokens, Finder&& wanted) {
  std::map<TokenId, AddedToken> out;
  for (const auto& [id, token] : tokens) {
    if (wanted(token)) out.emplace(id, token);
  }
  return out;
}

// Where the word at `begin` ends: before the next sign for a space that follows something else.
size_t word_end(std::string_view piece, size_t begin) {
  size_t at = begin;
  while (piece.substr(at).starts_with(kSpaceMark)) at += kSpaceMark.size();
  return std::min(piece.find(kSpaceMark, at), piece.size());
}

}  // namespace

struct JsonTokenizer::Workspace {
  CutMemory cut;
  ModelMemory model;
  PieceCache cache;
  Pieces pieces;
  std::vector<TextPart> raw_parts;
  std::vector<TextPart> normal_parts;
};

// A workspace for the time of one call: as many are made as calls run at once.
class JsonTokenizer::Lease {
 public:
  explicit Lease(const JsonTokenizer& owner) : owner_(owner) {
    const std::lock_guard lock(owner_.mutex_);
    if (!owner_.idle_.empty()) {
      work_ = std::move(owner_.idle_.back());
      owner_.idle_.pop_back();
    }
  }
  ~Lease() {
    const std::lock_guard lock(owner_.mutex_);
    owner_.idle_.push_back(std::move(work_));
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  Workspace& get() {
    if (work_ == nullptr) work_ = std::make_unique<Workspace>();
    return *work_;
  }

 private:
  const JsonTokenizer& owner_;
  std::unique_ptr<Workspace> work_;
};

JsonTokenizer::JsonTokenizer(TokenizerParts parts, TokenizerFiles files, const std::string& where)
    : parts_(std::move(parts)), files_(std::move(files)) {
  normalize_added(where);
  raw_finder_.emplace(
      select(parts_.added, [](const AddedToken& token) { return !token.normalized; }),
      [](TokenId, const AddedToken& token) { return token.content; }, where);
  normal_finder_.emplace(
      select(parts_.added, [](const AddedToken& token) { return token.normalized; }),
      [&](TokenId id, const AddedToken&) { return normal_forms_.at(id); }, where);
  index_tokens();
  check_ids(where);
  hash_ = compute_hash();
}

JsonTokenizer::~JsonTokenizer() = default;

void JsonTokenizer::normalize_added(const std::string& where) {
  RegexMemory memory;
  const SteadyClock clock;
  const Millis deadline = clock.now_ms() + kMaxNormalizeMs;
  for (const auto& [id, token] : parts_.added) {
    NormalText normal{token.content, true};
    if (token.normalized && parts_.normalizer != nullptr) {
      parts_.normalizer->apply(normal, memory);
      require<DataError>(normal.text.size() <= kMaxAddedToken, where, ": the added token ",
                         quoted(token.content), " has a normal form of ", normal.text.size(),
                         " bytes, at most ", kMaxAddedToken, " are read");
      require<DataError>(clock.now_ms() <= deadline, where, ": the added tokens take longer than ",
                         kMaxNormalizeMs, " ms to normalize");
    }
    normal_forms_[id] = std::move(normal.text);
  }
}

void JsonTokenizer::index_tokens() {
  const auto& vocabulary = parts_.model->vocabulary();
  const int64_t added_end = parts_.added.empty() ? 0 : parts_.added.rbegin()->first + 1;
  const auto size = static_cast<size_t>(std::max(vocabulary.size(), added_end));
  texts_.resize(size, nullptr);
  for (size_t id = 0; id < size; ++id) texts_[id] = vocabulary.token(static_cast<TokenId>(id));
  silent_.resize(size, false);
  forbidden_.resize(size, false);
  for (const auto& [id, token] : parts_.added) {
    const auto index = static_cast<size_t>(id);
    added_ids_[token.content] = id;
    texts_[index] = &normal_forms_.at(id);
    silent_[index] = forbidden_[index] = token.special;
  }
  if (const auto unk = parts_.model->unk_id()) {
    silent_[static_cast<size_t>(*unk)] = true;
    forbidden_[static_cast<size_t>(*unk)] = false;
  }
}

void JsonTokenizer::check_ids(const std::string& where) const {
  for (const auto* side : {&parts_.surround.before, &parts_.surround.after}) {
    for (const TokenId id : *side) {
      require<DataError>(id < vocab_size(), where, ": post_processor: the id ", id,
                         " is not in a vocabulary of ", vocab_size());
    }
  }
}

// Of tokenizer.json and of what the other files make of it; not of their bytes, which hold other things too.
std::string JsonTokenizer::compute_hash() const {
  Json rest = {{"added", Json::array()},           {"bos", bos_id().value_or(-1)},
               {"eos", eos_id().value_or(-1)},     {"pad", pad_id().value_or(-1)},
               {"before", parts_.surround.before}, {"after", parts_.surround.after}};
  for (const auto& [id, token] : parts_.added) {
    rest["added"].push_back(
        {id, token.content, token.single_word, token.lstrip, token.rstrip, token.normalized, token.special});
  }
  return sha256_hex(files_.at(kTokenizerJson) + rest.dump());
}

std::vector<TokenId> JsonTokenizer::encode(std::string_view text, Specials specials) const {
  require<DataError>(text.size() <= kMaxTextBytes, "tokenizer: a text of ", text.size(), " bytes, at most ",
                     kMaxTextBytes, " are encoded at once");
  std::string repaired;
  text = as_utf8(text, repaired);
  Lease lease(*this);
  Workspace& work = lease.get();
  work.raw_parts.clear();
  raw_finder_->split(text, specials, work.raw_parts);
  std::vector<TokenId> ids;
  for (const auto& part : work.raw_parts) {
    if (part.id >= 0) {
      ids.push_back(part.id);
    } else {
      encode_text(text.substr(part.begin, part.end - part.begin), part.begin == 0, specials, work, ids);
    }
  }
  return ids;
}

void JsonTokenizer::encode_text(std::string_view text, bool at_start, Specials specials, Workspace& work,
                                std::vector<TokenId>& ids) const {
  NormalText normal{std::string(text), at_start};
  if (parts_.normalizer != nullptr) parts_.normalizer->apply(normal, work.cut.regex);
  work.normal_parts.clear();
  normal_finder_->split(normal.text, specials, work.normal_parts);
  for (const auto& part : work.normal_parts) {
    if (part.id >= 0) {
      ids.push_back(part.id);
    } else {
      const auto between = std::string_view(normal.text).substr(part.begin, part.end - part.begin);
      encode_pieces(between, normal.at_start && part.begin == 0, specials, work, ids);
    }
  }
}

void JsonTokenizer::encode_pieces(std::string_view text, bool at_start, Specials specials, Workspace& work,
                                  std::vector<TokenId>& ids) const {
  Pieces& pieces = work.pieces;
  pieces.text = text;
  pieces.list.assign(1, {{0, text.size()}, at_start});
  if (parts_.pre_tokenizer != nullptr) parts_.pre_tokenizer->apply(pieces, work.cut);
  const std::string_view all = pieces.text;
  for (const auto& [range, first] : pieces.list) {
    const auto piece = all.substr(range.begin, range.end - range.begin);
    if (!parts_.model->can_cut_at_spaces()) {
      encode_piece(piece, specials, work, ids);
      continue;
    }
    for (size_t begin = 0; begin < piece.size();) {
      const size_t end = word_end(piece, begin);
      encode_piece(piece.substr(begin, end - begin), specials, work, ids);
      begin = end;
    }
  }
}

void JsonTokenizer::encode_piece(std::string_view piece, Specials specials, Workspace& work,
                                 std::vector<TokenId>& ids) const {
  if (piece.empty()) return;
  const size_t from = ids.size();
  if (!work.cache.find(piece, ids)) {
    parts_.model->encode(piece, {}, work.model, ids);
    work.cache.keep(piece, std::span(ids).subspan(from));
  }
  if (specials == Specials::Parse) return;
  const bool clean = std::none_of(ids.begin() + static_cast<std::ptrdiff_t>(from), ids.end(),
                                  [&](TokenId id) { return forbidden_[static_cast<size_t>(id)]; });
  if (clean) return;
  ids.resize(from);
  parts_.model->encode(piece, forbidden_, work.model, ids);
}

std::vector<TokenId> JsonTokenizer::with_specials(std::vector<TokenId> ids) const {
  const auto& [before, after] = parts_.surround;
  ids.insert(ids.begin(), before.begin(), before.end());
  ids.insert(ids.end(), after.begin(), after.end());
  return ids;
}

std::string JsonTokenizer::decode(std::span<const TokenId> ids, bool keep_specials) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const TokenId id : ids) {
    require(id >= 0 && id < vocab_size(), "tokenizer: the id ", id, " is not in a vocabulary of ",
            vocab_size());
    const auto index = static_cast<size_t>(id);
    if (texts_[index] != nullptr && (keep_specials || !silent_[index])) tokens.push_back(*texts_[index]);
  }
  if (parts_.decoder != nullptr) {
    Lease lease(*this);
    parts_.decoder->apply(tokens, lease.get().cut.regex);
  }
  std::string text;
  for (const auto& token : tokens) {
    if (parts_.decoder == nullptr && !text.empty()) text += ' ';
    text += token;
  }
  return text;
}

std::optional<TokenId> JsonTokenizer::find(std::string_view token) const {
  const auto added = added_ids_.find(token);
  return added == added_ids_.end() ? parts_.model->vocabulary().find(token) : added->second;
}

void JsonTokenizer::save(const std::filesystem::path& directory) const {
  std::filesystem::create_directories(directory);
  for (const auto& [name, bytes] : files_) write_file_atomically(directory / name, bytes);
  if (!files_.contains(kTokenizerConfig)) {
    const Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                         {"clean_up_tokenization_spaces", false}};
    write_file_atomically(directory / kTokenizerConfig, config.dump(2) + "\n");
  }
}

}  // namespace sluice::text::internal
