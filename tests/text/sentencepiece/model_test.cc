// Malformed SentencePiece models: each is refused at once, by file and byte, before the library sees it.
#include "text/sentencepiece/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/files.h"
#include "base/philox.h"
#include "tests/base/temp_folder.h"
#include "tests/text/model_bytes.h"
#include "text/tokenizer.h"

namespace sluice::text {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

struct Malformed {
  std::string name;
  std::string bytes;
  std::string complaint;
};

std::vector<Malformed> wire_cases() {
  const std::string good = small_model();
  const std::string at_end = "byte " + std::to_string(good.size());
  return {
      {"an empty file", "", "byte 0: none of 0 pieces"},
      {"a text", "This is a text, not a model.", "byte 0"},
      {"zeros", std::string(100, '\0'), "byte 0: there is no field number 0"},
      {"0xff", std::string(100, '\xff'), "byte 0: a field's tag is longer than 64 bits"},
      {"a tag without a value", good + tag(9, 0), at_end.substr(0, 5)},
      {"field number 0", good + varint(0 << 3 | 2) + varint(0), at_end + ": there is no field number 0"},
      {"field number 2^29", good + varint(uint64_t{1} << 32) + varint(1),
       at_end + ": there is no field number"},
      {"a varint of 11 bytes", good + tag(9, 0) + std::string(10, '\x80') + '\x01', "longer than 64 bits"},
      {"a varint that does not end", good + tag(9, 0) + std::string(3, '\x80'), "a number is cut short"},
      {"a group", good + tag(9, 3), at_end + ": wire type 3"},
      {"the end of a group", good + tag(9, 4), at_end + ": wire type 4"},
      {"wire type 6", good + tag(9, 6), at_end + ": wire type 6"},
      {"wire type 7", good + tag(9, 7), at_end + ": wire type 7"},
      {"7 bytes of 8", good + tag(9, 1) + std::string(7, 'x'), "a number of 8 bytes is cut short"},
      {"3 bytes of 4", good + tag(9, 5) + std::string(3, 'x'), "a number of 4 bytes is cut short"},
      {"a length past the end", good + tag(1, 2) + varint(100) + "x",
       at_end + ": field 1 has 100 bytes, but 1"},
      {"a length of 2^64 - 1", good + tag(1, 2) + varint(~uint64_t{0}),
       at_end + ": field 1 has 18446744073709551615"},
      {"a length of 2^31", good + tag(1, 2) + varint(uint64_t{1} << 31), at_end + ": field 1 has 2147483648"},
      {"a length without an end", good + tag(1, 2) + "\xff\xff", "a length is cut short"},
      {"a piece that is a number", good + number_field(1, 5), at_end + ": a piece has wire type 0, wants 2"},
      {"a trainer that is a number", kSpecials + kLetters + number_field(2, 5),
       "trainer_spec has wire type 0"},
      {"a normalizer that is fixed", kSpecials + kLetters + float_field(3, 1),
       "normalizer_spec has wire type 5"},
      {"two trainers", good + trainer(kind(kBpe)), at_end + ": field 2 of the model is there twice"},
      {"two normalizers", good + normalizer(""), at_end + ": field 3 of the model is there twice"},
  };
}

std::vector<Malformed> piece_cases() {
  const auto with = [](const std::string& more) { return small_model(more); };
  const std::string at = "byte " + std::to_string((kSpecials + kLetters).size());
  const auto raw = [](const std::string& fields) { return bytes_field(1, fields); };
  const auto nested = [] {
    std::string pieces;
    for (size_t size = 1; size <= 65; ++size) pieces += piece(std::string(size, 'x'), kUserDefined);
    return pieces;
  };
  const auto infinite = std::numeric_limits<float>::infinity();
  return {
      {"a piece without text", with(raw(float_field(2, 1))), at + ": a piece is empty"},
      {"an empty piece", with(piece("")), at + ": a piece is empty"},
      {"a long piece", with(piece(std::string(1025, 'x'))), at + ": a piece of 1025 bytes"},
      {"a zero byte", with(piece(std::string("x\0y", 3))), "holds a zero byte"},
      {"a lone continuation byte", with(piece("x\x80")), "a piece is not UTF-8"},
      {"a lone lead byte", with(piece("x\xe4")), "a piece is not UTF-8"},
      {"an overlong form", with(piece("\xc0\xaf")), "a piece is not UTF-8"},
      {"a surrogate", with(piece("\xed\xa0\x80")), "a piece is not UTF-8"},
      {"past U+10FFFF", with(piece("\xf4\x90\x80\x80")), "a piece is not UTF-8"},
      {"a score that is NaN", with(piece("x", kNormal, std::nanf(""))), "the score of a piece is nan"},
      {"an infinite score", with(piece("x", kNormal, infinite)), "the score of a piece is inf"},
      {"a score of -inf", with(piece("x", kNormal, -infinite)), "the score of a piece is -inf"},
      {"a score that is a varint", with(raw(bytes_field(1, "x") + number_field(2, 1))),
       "has wire type 0, wants 5"},
      {"a text that is a number", with(raw(number_field(1, 7))), "a piece has wire type 0, wants 2"},
      {"a type that is text", with(raw(bytes_field(1, "x") + bytes_field(3, "1"))),
       "the type of a piece has wire type"},
      {"type 0", with(piece("x", 0)), "a piece has the unknown type 0"},
      {"type 7", with(piece("x", 7)), "a piece has the unknown type 7"},
      {"type -1", with(piece("x", -1)), "a piece has the unknown type -1"},
      {"type 2^32 + 1", with(piece("x", (int64_t{1} << 32) + 1)), "more than 32 bits"},
      {"two texts", with(raw(bytes_field(1, "x") + bytes_field(1, "y"))),
       "field 1 of a piece is there twice"},
      {"two types", with(raw(bytes_field(1, "x") + number_field(3, 1) + number_field(3, 2))),
       "field 3 of a piece"},
      {"a text past its piece", with(raw(tag(1, 2) + varint(9) + "x")),
       "field 1 has 9 bytes, but 1 are left"},
      {"a piece twice", with(piece("ab")), at + ": the piece \"ab\" is there already"},
      {"a piece like a special", with(piece("</s>")), at + ": the piece \"</s>\" is there already"},
      {"no unknown piece", piece("a") + trainer(kind(kBpe)), "none of 1 pieces stands for what is unknown"},
      {"two unknown pieces", with(piece("<u>", kUnknown)), at + ": a second unknown piece"},
      {"nothing but specials", kSpecials + trainer(kind(kUnigram)), "none of 3 pieces is of text"},
      {"a control piece of one character", with(piece("z", kControl)), at + ": the control piece \"z\""},
      {"65 symbols in each other", with(nested()), "more than 64 user-defined pieces begin one another"},
      {"a byte without byte_fallback", with(piece("<0x0A>", kByte)), "in a model without byte_fallback"},
      {"a byte in lower case", with(piece("<0x0a>", kByte)), "is not spelled <0xNN>"},
      {"a byte of three digits", with(piece("<0x00A>", kByte)), "is not spelled <0xNN>"},
  };
}

std::vector<Malformed> spec_cases() {
  const auto trained = [](const std::string& fields) { return small_model("", kind(kBpe) + fields); };
  return {
      {"model_type 0", small_model("", kind(0)), "model_type 0 is not supported"},
      {"model_type word", small_model("", kind(kWord)), "model_type 3 (whole words) is not supported"},
      {"model_type 2^31", small_model("", kind(int64_t{1} << 31)),
       "model_type is 2147483648, more than 32 bits"},
      {"model_type as text", small_model("", bytes_field(3, "bpe")), "model_type has wire type 2"},
      {"two model_types", small_model("", kind(1) + kind(2)), "field 3 of trainer_spec is there twice"},
      {"byte_fallback 2", trained(number_field(35, 2)), "byte_fallback is 2, neither true nor false"},
      {"byte_fallback without bytes", trained(number_field(35, 1)), "the piece of byte 0 is missing"},
      {"255 bytes",
       small_model(byte_pieces().substr(piece("<0x00>", kByte).size()), kind(kBpe) + number_field(35, 1)),
       "the piece of byte 0 is missing"},
      {"unk_id out of range", trained(number_field(40, 6)), "the special id 6 is not one of 6 pieces"},
      {"bos_id far out", trained(number_field(41, 1 << 30)), "the special id 1073741824"},
      {"eos_id -2", trained(number_field(42, -2)), "the special id -2"},
      {"pad_id of 64 bits", trained(number_field(43, int64_t{1} << 40)), "more than 32 bits"},
      {"a name that is not UTF-8", trained(bytes_field(46, "\xff")),
       "the name of a special piece is not UTF-8"},
      {"a name of 2 kB", trained(bytes_field(44, std::string(2048, 'x'))), "has 2048 bytes"},
      {"a trainer cut short", kSpecials + kLetters + trainer(tag(3, 0)), "a number is cut short"},
      {"add_dummy_prefix 7", small_model("", kind(kBpe), number_field(3, 7)), "add_dummy_prefix is 7"},
      {"escape_whitespaces as text", small_model("", kind(kBpe), bytes_field(5, "")),
       "escape_whitespaces has wire"},
      {"a self-test that is not UTF-8",
       small_model() + bytes_field(4, bytes_field(1, bytes_field(1, "\xff"))), "a self-test is not UTF-8"},
      {"a self-test of 2 MB", small_model() + bytes_field(4, std::string(2 << 20, 'x')),
       "self_test_data of 2097152"},
      {"rules for decoded text", small_model() + bytes_field(5, bytes_field(2, "xxxx")), "denormalizer_spec"},
  };
}

std::string with_rules(const RuleBlob& rules) { return small_model("", kind(kBpe), rules.field()); }
std::string with_blob(const std::string& blob) { return small_model("", kind(kBpe), bytes_field(2, blob)); }

std::vector<Malformed> rule_cases() {
  const auto bent = [](const auto& bend) {
    RuleBlob rules;
    bend(rules);
    return with_rules(rules);
  };
  constexpr uint32_t kA = RuleBlob::kRoot ^ 'a';
  const std::string good = RuleBlob().bytes();
  // "a" over and over: each unit leads to a base from which "a" is the unit itself.
  const auto endless = [](RuleBlob& rules) { rules.units[kA] = RuleBlob::unit('a', 'a', false); };
  const auto nested = [](RuleBlob& rules) {  // 40 rules, each one "a" longer
    rules.units.assign(64 * 256, RuleBlob::kNever);
    rules.units[0] = RuleBlob::unit(0, RuleBlob::kRoot, false);
    uint32_t at = kA;
    for (uint32_t block = 1; block <= 40; ++block) {
      const uint32_t base = block * 256 + RuleBlob::kRoot;
      rules.units[at] = RuleBlob::unit('a', at ^ base, true);
      rules.units[base] = RuleBlob::kNever;  // the replacement at byte 0
      at = base ^ 'a';
    }
  };
  return {
      {"4 bytes of rules", with_blob(fixed32(0)), "has 4 bytes; it may have 5"},
      {"no double array", with_blob(fixed32(0) + std::string("b\0", 2)), "a double array of 0 bytes"},
      {"half a block", with_blob(fixed32(512) + std::string(600, '\0')),
       "a double array of 512 bytes, not whole"},
      {"an array past the end", with_blob(fixed32(2048) + good.substr(4)),
       "a double array of 2048 bytes, and with"},
      // One byte too long: what follows the array would begin behind the end.
      {"an array up to the end", with_blob(good.substr(0, 4 + 1024)),
       "a double array of 1024 bytes, and with"},
      {"an array of 4 GB", with_blob(fixed32(0xFFFFFC00) + good.substr(4)), "a double array of 4294966272"},
      {"no zero byte at the end", with_blob(good.substr(0, good.size() - 1)), "does not end in a zero byte"},
      {"a root that leads out", bent([](auto& r) { r.units[0] = RuleBlob::unit(0, 0x1000, false); }),
       "a rule leads to unit 4096 of 256"},
      {"a rule that leads out", bent([](auto& r) { r.units[kA] = RuleBlob::unit('a', 0x1FFFFF, true); }),
       "a rule leads to unit"},
      {"a wide offset that leads out",
       bent([](auto& r) { r.units[kA] = RuleBlob::unit('a', 256, true) | 1u << 9; }), "a rule leads to unit"},
      {"a replacement past the end", bent([](auto& r) { r.units[kA ^ 1] = RuleBlob::kNever | 2; }),
       "a replacement begins at byte 2 of 2"},
      {"a replacement far out", bent([](auto& r) { r.units[kA ^ 1] = ~0u; }),
       "a replacement begins at byte 2147483647"},
      {"a long replacement", bent([](auto& r) { r.replacements = std::string(65, 'x') + '\0'; }),
       "a replacement of 65 bytes"},
      {"a replacement that is not UTF-8", bent([](auto& r) { r.replacements = std::string("\xe4\0", 2); }),
       "a replacement is not UTF-8"},
      {"a rule without an end", bent(endless), "a rule of more than 64 bytes"},
      {"40 rules in each other", bent(nested), "more than 32 rules begin one another"},
      {"rules as a number", small_model("", kind(kBpe), number_field(2, 1)),
       "precompiled_charsmap has wire type 0"},
      {"5 MB of rules", with_blob(std::string(5 << 20, '\0')), "has 5242880 bytes; it may have"},
  };
}

void expect_refused(const TempFolder& folder, const Malformed& model) {
  const auto file = folder.write("bad.model", model.bytes);
  const auto began = std::chrono::steady_clock::now();
  const std::string message = message_of<DataError>([&] { load_tokenizer(file); });
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  EXPECT_THAT(message, AllOf(HasSubstr("bad.model: "), HasSubstr("byte "), HasSubstr(model.complaint)))
      << model.name;
  EXPECT_LT(took.count(), 1.0) << model.name;
}

TEST(SentencePieceModel, IsRefusedByFileAndByteWhenItIsMalformed) {
  const TempFolder folder;
  size_t num_cases = 0;
  for (const auto& cases : {wire_cases(), piece_cases(), spec_cases(), rule_cases()}) {
    num_cases += cases.size();
    for (const auto& model : cases) expect_refused(folder, model);
  }
  EXPECT_GE(num_cases, 90u);
}

TEST(SentencePieceModel, OfSmallSizeIsRead) {
  const TempFolder folder;
  const auto tokenizer = load_tokenizer(folder.write("good.model", small_model()));
  EXPECT_THAT(tokenizer->encode("abba"), ElementsAre(5, 4, 3));
  EXPECT_THAT(tokenizer->encode("axb"), ElementsAre(3, 0, 4));

  const std::string bytes = small_model();
  const auto read = internal::read_sentencepiece_model(bytes, "good");
  EXPECT_EQ(read.kind, internal::ModelKind::Bpe);
  EXPECT_FALSE(read.add_dummy_prefix);
  ASSERT_EQ(read.pieces.size(), 6u);
  EXPECT_EQ(read.pieces[5].text, "ab");
  EXPECT_EQ(read.pieces[5].score, -3);
  EXPECT_EQ(read.pieces[5].offset, (kSpecials + kLetters).size() - piece("ab").size());
}

TEST(SentencePieceModel, MayHoldFieldsOfALaterVersion) {
  const TempFolder folder;
  const std::string later = small_model(bytes_field(1, bytes_field(1, "z") + number_field(200, 3)),
                                        kind(kBpe) + bytes_field(77, "new")) +
                            float_field(201, 1);
  EXPECT_THAT(load_tokenizer(folder.write("later.model", later))->encode("z"), ElementsAre(6));
}

TEST(SentencePieceModel, NormalizesByItsRules) {
  const TempFolder folder;
  const auto tokenizer = load_tokenizer(folder.write("rules.model", with_rules({})));
  EXPECT_THAT(tokenizer->encode("ab"), ElementsAre(4, 4));  // "a" becomes "b"
}

TEST(SentencePieceModel, MayHave64SymbolsInEachOther) {
  const TempFolder folder;
  std::string pieces;
  for (size_t size = 1; size <= 64; ++size) pieces += piece(std::string(size, 'x'), kUserDefined);
  const auto tokenizer = load_tokenizer(folder.write("nested.model", small_model(pieces)));
  EXPECT_THAT(tokenizer->encode(std::string(65, 'x')), ElementsAre(69, 6));
}

// Cut anywhere, a model is refused: its byte pieces need the trainer_spec. Only what is left behind that one
// is a model.
TEST(SentencePieceModel, IsRefusedWhenCutShort) {
  const std::string rules = normalizer(RuleBlob().field());
  const std::string bytes =
      kSpecials + byte_pieces() + kLetters + trainer(kind(kBpe) + number_field(35, 1)) + rules;
  const size_t whole = bytes.size() - rules.size();
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::string message = message_of<DataError>(
        [&] { internal::read_sentencepiece_model(bytes.substr(0, size), "cut.model"); });
    if (size == whole) {
      EXPECT_EQ(message, "");
    } else {
      EXPECT_THAT(message, HasSubstr("cut.model: byte ")) << size;
    }
  }
}

// Damage may leave another model that is one, and that must encode and decode.
TEST(SentencePieceModel, SurvivesDamage) {
  const TempFolder folder;
  const std::string bytes = small_model(byte_pieces() + piece("<sym>", kUserDefined),
                                        kind(kUnigram) + number_field(35, 1), RuleBlob().field());
  int read = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    std::string damaged = bytes;
    for (uint64_t flip = 0; flip < 1 + i % 3; ++flip) {
      const uint64_t bits = random_bits(11, RandomUse::Data, i, flip);
      damaged[bits % damaged.size()] ^= static_cast<char>(1u << (bits >> 40) % 8);
    }
    try {
      const auto tokenizer = load_tokenizer(folder.write("damaged.model", damaged));
      tokenizer->decode(tokenizer->encode("ab \u4e2d<sym></s>a"));
      ++read;
    } catch (const Error&) {
    }
  }
  EXPECT_GT(read, 0);
}

}  // namespace
}  // namespace sluice::text
