#include "text/internal/sentencepiece_tokenizer.h"

#include <array>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "text/tokenizer.h"

namespace sluice::text {
namespace internal {
namespace {

constexpr uint64_t kMaxModelBytes = 256u << 20;
constexpr size_t kMaxTextBytes = 1u << 30;  // SentencePiece counts in int
constexpr const char* kModelFile = "tokenizer.model";
constexpr const char* kConfigFile = "tokenizer_config.json";
constexpr const char* kSpecialsFile = "special_tokens_map.json";
constexpr const char* kFastFile = "tokenizer.json";
// What a model directory may hold besides the model itself: copied as it is, because other programs recognise
// a tokenizer by its bytes.
constexpr std::array kCompanions = {kConfigFile, kSpecialsFile, kFastFile, "added_tokens.json",
                                    "chat_template.jinja"};

constexpr int kSilent = 4;  // above SentencePiece's highest level

}  // namespace

void silence_sentencepiece() {
  [[maybe_unused]] static const bool once = (sentencepiece::SetMinLogLevel(kSilent), true);
}

SentencePieceTokenizer::SentencePieceTokenizer(std::string model, TokenizerFiles files,
                                               const std::string& where)
    : model_(std::move(model)), files_(std::move(files)), hash_(sha256_hex(model_)) {
  silence_sentencepiece();
  const auto status = processor_.LoadFromSerializedProto(model_);
  require<DataError>(status.ok(), where, ": not a SentencePiece model: ", status.message());
  vocab_size_ = processor_.GetPieceSize();
  require<DataError>(vocab_size_ > 0, where, ": a SentencePiece model without pieces");
}

std::optional<TokenId> SentencePieceTokenizer::known(int id) const {
  if (id < 0 || id >= vocab_size_) return std::nullopt;
  return id;
}

bool SentencePieceTokenizer::is_special(TokenId id) const {
  return processor_.IsControl(id) || processor_.IsUnknown(id);
}

std::vector<TokenId> SentencePieceTokenizer::encode(std::string_view text, Specials) const {
  require<DataError>(text.size() <= kMaxTextBytes, "tokenizer: a text of ", text.size(), " bytes, at most ",
                     kMaxTextBytes, " are encoded at once");
  std::vector<TokenId> ids;
  const auto status = processor_.Encode(text, &ids);
  require(status.ok(), "tokenizer: cannot encode: ", status.message());
  return ids;
}

std::vector<TokenId> SentencePieceTokenizer::with_specials(std::vector<TokenId> ids) const { return ids; }

std::optional<TokenId> SentencePieceTokenizer::find(std::string_view token) const {
  const auto id = known(processor_.PieceToId(token));
  return id && piece(*id) == token ? id : std::nullopt;
}

std::string SentencePieceTokenizer::decode(std::span<const TokenId> ids, bool keep_specials) const {
  std::vector<int> kept;
  kept.reserve(ids.size());
  for (const TokenId id : ids) {
    require(id >= 0 && id < vocab_size_, "tokenizer: the id ", id, " is not in a vocabulary of ",
            vocab_size_);
    if (keep_specials || !is_special(id)) kept.push_back(id);
  }
  std::string text;
  const auto status = processor_.Decode(kept, &text);
  require(status.ok(), "tokenizer: cannot decode: ", status.message());
  return text;
}

const std::string& SentencePieceTokenizer::piece(TokenId id) const {
  require(id >= 0 && id < vocab_size_, "tokenizer: the id ", id, " is not in a vocabulary of ", vocab_size_);
  return processor_.IdToPiece(id);
}

std::string SentencePieceTokenizer::special_tokens() const {
  Json out = Json::object();
  const auto add = [&](const char* name, std::optional<TokenId> id) {
    if (id) out[name] = piece(*id);
  };
  add("bos_token", bos_id());
  add("eos_token", eos_id());
  add("unk_token", known(processor_.unk_id()));
  add("pad_token", pad_id());
  return out.dump(2) + "\n";
}

std::string SentencePieceTokenizer::config() const {
  // The model may put a space before every text; who reads this file must be told.
  const auto ids = encode("a");
  const bool prefix_space = !ids.empty() && piece(ids[0]).starts_with("▁");
  // LlamaTokenizer builds itself from tokenizer.model, which transformers 4 refuses for a character model;
  // the other class takes tokenizer.json as it is, and is exact in transformers 4 and 5.
  const bool fast = files_.contains(kFastFile);
  Json out = {{"tokenizer_class", fast ? "PreTrainedTokenizerFast" : "LlamaTokenizer"},
              {"add_bos_token", false},
              {"add_eos_token", false},
              {"add_prefix_space", prefix_space},
              {"legacy", false},
              {"clean_up_tokenization_spaces", false}};
  out.update(Json::parse(special_tokens()));
  return out.dump(2) + "\n";
}

void SentencePieceTokenizer::save(const std::filesystem::path& directory) const {
  TokenizerFiles files = files_;
  files.try_emplace(kConfigFile, config());
  files.try_emplace(kSpecialsFile, special_tokens());
  files.insert_or_assign(kModelFile, model_);
  std::filesystem::create_directories(directory);
  for (const auto& [name, bytes] : files) write_file_atomically(directory / name, bytes);
}

}  // namespace internal

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  require<DataError>(fs::exists(path), path.string(), ": no such file or folder; looked for ",
                     internal::kModelFile, " or a SentencePiece file");
  if (!fs::is_directory(path)) {
    return std::make_unique<internal::SentencePieceTokenizer>(read_file(path, internal::kMaxModelBytes),
                                                              internal::TokenizerFiles{}, path.string());
  }
  const fs::path model = path / internal::kModelFile;
  require<DataError>(fs::exists(model), path.string(), ": no ", internal::kModelFile, " in it",
                     fs::exists(path / internal::kFastFile) ? "; its tokenizer.json alone is not read" : "");
  internal::TokenizerFiles files;
  for (const char* name : internal::kCompanions) {
    if (fs::exists(path / name)) files[name] = read_file(path / name, internal::kMaxModelBytes);
  }
  return std::make_unique<internal::SentencePieceTokenizer>(read_file(model, internal::kMaxModelBytes),
                                                            std::move(files), model.string());
}

}  // namespace sluice::text
