// How tokens are spelled: the sign for a space, the tokens of single bytes, and tokens in error messages.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sluice::text::internal {

inline constexpr std::string_view kSpaceMark = "\u2581";  // how SentencePiece writes a space
inline constexpr size_t kMaxPieceBytes = 1024;            // of a piece: how far a look into a text may go

// "<0x0A>", a byte of what the vocabulary lacks.
std::string byte_token(unsigned char byte);
// The byte of such a token; its digits may be small letters too.
std::optional<unsigned char> byte_of(std::string_view token);

// What an error message shows of a token, however long it is: with quotation marks around it.
std::string quoted(std::string_view token);

}  // namespace sluice::text::internal
