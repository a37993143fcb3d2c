// Python's functions on strings: characters are code points, white space and case are Unicode's.
//
// Bytes that are not UTF-8 count as characters of one byte each.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/internal/unicode.h"
#include "text/jinja/context.h"

namespace sluice::text::jinja {

size_t character_length(std::string_view text, size_t offset);
int64_t count_characters(std::string_view text);
// The offset of each character, and the size as last element.
std::vector<size_t> character_starts(std::string_view text);
char32_t code_point(std::string_view text, size_t offset, size_t length);
using internal::append_utf8;

bool is_space(char32_t code);
// Where white space that begins at `offset` ends.
size_t skip_space(std::string_view text, size_t offset);

enum class Sides { Left, Right, Both };
std::string_view strip_space(std::string_view text, Sides sides);
// Without `characters`, white space.
std::string_view strip(Context& context, std::string_view text, std::optional<std::string_view> characters,
                       Sides sides);

// Without `separator`, at runs of white space, and empty parts are left out. `limit` below 0 is none.
std::vector<std::string> split(Context& context, std::string_view text,
                               std::optional<std::string_view> separator, int64_t limit, bool from_right);
std::vector<std::string> split_lines(Context& context, std::string_view text, bool keep_ends);
std::string replace(Context& context, std::string_view text, std::string_view old, std::string_view fresh,
                    int64_t limit);
// The byte where `part` begins at or after `from`; std::string_view::npos when nowhere. Linear in the text.
size_t find(std::string_view text, std::string_view part, size_t from = 0);
size_t find_last(Context& context, std::string_view text, std::string_view part);

std::string lower(std::string_view text);
std::string upper(std::string_view text);
std::string capitalize(std::string_view text);
// str.title(): a capital after whatever has no case.
std::string title(std::string_view text);
// The filter `title`: a capital at the start, after white space and after - ( { [ <.
std::string title_words(std::string_view text);
bool is_lower(std::string_view text);
bool is_upper(std::string_view text);
// All characters, at least one, satisfy the test.
bool all_characters(std::string_view text, bool (*test)(char32_t));
bool is_digit(char32_t code);
bool is_letter(char32_t code);
bool is_letter_or_digit(char32_t code);
bool is_printable(char32_t code);

}  // namespace sluice::text::jinja
