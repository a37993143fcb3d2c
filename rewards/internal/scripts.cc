#include "rewards/internal/scripts.h"

#include <algorithm>
#include <iterator>

namespace sluice::rewards::internal {
namespace {

struct Block {
  char32_t first, last;
  Script script;
};

// In order. Signs between them are None, everything else beyond ASCII is Other.
constexpr Block kBlocks[] = {
    {0x00, 0x40, Script::None},       {0x41, 0x5A, Script::Latin},      {0x5B, 0x60, Script::None},
    {0x61, 0x7A, Script::Latin},      {0x7B, 0xA9, Script::None},       {0xAA, 0xAA, Script::Latin},
    {0xAB, 0xB9, Script::None},       {0xBA, 0xBA, Script::Latin},      {0xBB, 0xBF, Script::None},
    {0xC0, 0xD6, Script::Latin},      {0xD7, 0xD7, Script::None},       {0xD8, 0xF6, Script::Latin},
    {0xF7, 0xF7, Script::None},       {0xF8, 0x24F, Script::Latin},     {0x2B0, 0x36F, Script::None},
    {0x370, 0x3FF, Script::Greek},    {0x400, 0x52F, Script::Cyrillic}, {0x591, 0x5FF, Script::Hebrew},
    {0x600, 0x6FF, Script::Arabic},   {0x750, 0x77F, Script::Arabic},   {0x900, 0x97F, Script::Devanagari},
    {0xE00, 0xE7F, Script::Thai},     {0x1100, 0x11FF, Script::Hangul}, {0x1E00, 0x1EFF, Script::Latin},
    {0x1F00, 0x1FFF, Script::Greek},  {0x2000, 0x2BFF, Script::None},   {0x2E80, 0x2FDF, Script::Han},
    {0x3000, 0x3004, Script::None},   {0x3005, 0x3007, Script::Han},    {0x3008, 0x303F, Script::None},
    {0x3040, 0x30FF, Script::Kana},   {0x3130, 0x318F, Script::Hangul}, {0x31F0, 0x31FF, Script::Kana},
    {0x3400, 0x4DBF, Script::Han},    {0x4E00, 0x9FFF, Script::Han},    {0xAC00, 0xD7AF, Script::Hangul},
    {0xF900, 0xFAFF, Script::Han},    {0xFE00, 0xFE6F, Script::None},   {0xFF00, 0xFF20, Script::None},
    {0xFF21, 0xFF3A, Script::Latin},  {0xFF3B, 0xFF40, Script::None},   {0xFF41, 0xFF5A, Script::Latin},
    {0xFF5B, 0xFF65, Script::None},   {0xFF66, 0xFF9F, Script::Kana},   {0xFFE0, 0xFFFF, Script::None},
    {0x1F000, 0x1FAFF, Script::None}, {0x20000, 0x323AF, Script::Han},  {0xE0000, 0x10FFFF, Script::None},
};

const std::vector<Language>& table() {
  static const std::vector<Language> languages = {
      {"en", {Script::Latin}, {"the", "of",    "and",  "to",   "is",   "that", "it",    "was",   "for",
                               "on",  "are",   "with", "as",   "be",   "at",   "this",  "have",  "from",
                               "or",  "by",    "not",  "but",  "we",   "you",  "they",  "which", "can",
                               "so",  "there", "if",   "then", "what", "will", "would", "a",     "in",
                               "he",  "she",   "has",  "had",  "i",    "my",   "me"}},
      {"de",
       {Script::Latin},
       {"der", "die",  "das",   "und",  "ist",  "nicht", "ein",   "eine", "zu",   "den",    "mit",   "von",
        "auf", "sich", "des",   "dem",  "im",   "als",   "auch",  "es",   "an",   "werden", "aus",   "er",
        "hat", "dass", "sie",   "nach", "wird", "bei",   "einer", "um",   "noch", "wie",    "einem", "so",
        "zum", "war",  "haben", "nur",  "oder", "aber",  "wir",   "ich",  "in",   "man"}},
      {"fr", {Script::Latin}, {"le",    "la",    "les", "de",   "des",  "et",   "est",  "un",
                               "une",   "que",   "qui", "dans", "pour", "pas",  "sur",  "plus",
                               "par",   "ce",    "il",  "elle", "au",   "avec", "ne",   "se",
                               "sont",  "du",    "en",  "on",   "nous", "vous", "mais", "ou",
                               "cette", "comme", "aux", "ont",  "je",   "son",  "sa",   "donc"}},
      {"es", {Script::Latin}, {"el",  "la",  "los",   "las",    "de",    "que",  "y",     "en",
                               "un",  "una", "es",    "por",    "con",   "no",   "para",  "se",
                               "del", "al",  "lo",    "como",   "su",    "pero", "sus",   "le",
                               "ya",  "o",   "este",  "porque", "esta",  "son",  "entre", "cuando",
                               "muy", "sin", "sobre", "hay",    "donde", "yo",   "nos",   "si"}},
      {"it", {Script::Latin}, {"il",  "lo",  "la",   "gli",   "le",     "di",   "che",   "e",  "un",   "una",
                               "per", "non", "con",  "del",   "della",  "dei",  "nel",   "si", "sono", "da",
                               "al",  "ma",  "come", "anche", "questo", "alla", "delle", "se", "ha",   "o",
                               "i",   "in",  "ci",   "mi",    "ed",     "io",   "quindi"}},
      {"pt", {Script::Latin}, {"o",   "a",   "os",   "as",   "de",   "que",  "e",      "do",
                               "da",  "em",  "um",   "uma",  "para", "com",  "por",    "mais",
                               "dos", "das", "se",   "na",   "no",   "ao",   "como",   "mas",
                               "foi", "ele", "ela",  "seu",  "sua",  "ou",   "quando", "muito",
                               "nos", "eu",  "isso", "esta", "ser",  "pela", "pelo",   "nem"}},
      {"nl", {Script::Latin}, {"de",  "het",  "een",  "en",  "van",  "is",   "dat",  "niet",  "te",   "op",
                               "in",  "zijn", "voor", "met", "die",  "aan",  "er",   "maar",  "om",   "ook",
                               "als", "bij",  "dan",  "nog", "naar", "door", "uit",  "wordt", "werd", "heeft",
                               "hij", "ze",   "wij",  "ik",  "je",   "dus",  "deze", "geen"}},
      {"pl", {Script::Latin}, {"i",     "w",     "nie",   "na",   "to",   "jest", "z",   "do",
                               "od",    "za",    "co",    "jak",  "ale",  "o",    "po",  "tak",
                               "tego",  "przez", "dla",   "ma",   "czy",  "ja",   "ten", "jego",
                               "tylko", "gdy",   "sobie", "przy", "oraz", "lub",  "bo",  "ze"}},
      {"el", {Script::Greek}, {}},
      {"ru", {Script::Cyrillic}, {}},
      {"uk", {Script::Cyrillic}, {}},
      {"he", {Script::Hebrew}, {}},
      {"ar", {Script::Arabic}, {}},
      {"fa", {Script::Arabic}, {}},
      {"hi", {Script::Devanagari}, {}},
      {"th", {Script::Thai}, {}},
      {"ko", {Script::Hangul}, {}},
      {"ja", {Script::Kana, Script::Han}, {}},
      {"zh", {Script::Han}, {}},
  };
  return languages;
}

}  // namespace

Script script_of(char32_t character) {
  const auto block = std::ranges::lower_bound(kBlocks, character, {}, &Block::last);
  if (block == std::end(kBlocks) || character < block->first) return Script::Other;
  return block->script;
}

std::span<const Language> languages() { return table(); }

}  // namespace sluice::rewards::internal
