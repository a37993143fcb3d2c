// What a command of LaTeX is to an answer.
#pragma once

#include <string_view>

#include "rewards/math/tokens.h"

namespace sluice::rewards::math {

enum class CommandUse {
  Layout,       // \left, \displaystyle: says nothing
  Space,        // \quad
  Text,         // \text, \mathrm: what is in its braces
  Environment,  // \begin, \end
  Alphabet,     // \mathbb
  Token
};

struct CommandSpelling {
  TokenKind kind;
  std::string_view text;
};

CommandUse use_of(std::string_view name);
// Of a Token: \dfrac is \frac, \leq the sign <=.
CommandSpelling spelling_of(std::string_view name);

// Names that plain text writes without a backslash: functions, sqrt, pi.
bool is_plain_name(std::string_view letters);

// The functions of one argument.
bool is_function(std::string_view name);

}  // namespace sluice::rewards::math
