#include "rewards/math/commands.h"

#include <algorithm>
#include <iterator>

namespace sluice::rewards::math {
namespace {

constexpr std::string_view kFunctions[] = {"sin",    "cos",    "tan",    "cot",    "sec",    "csc",
                                           "arcsin", "arccos", "arctan", "arccot", "arcsec", "arccsc",
                                           "sinh",   "cosh",   "tanh",   "ln",     "log",    "exp"};
constexpr std::string_view kPlainNames[] = {"sqrt", "inf",   "pi",     "infinity", "theta", "alpha",
                                            "beta", "gamma", "lambda", "omega",    "phi"};

constexpr std::string_view kLayout[] = {"left",        "right",  "middle",    "big",          "Big",
                                        "bigg",        "Bigg",   "bigl",      "bigr",         "Bigl",
                                        "Bigr",        "biggl",  "biggr",     "displaystyle", "textstyle",
                                        "scriptstyle", "limits", "mathstrut", "boxed",        "fbox"};
constexpr std::string_view kSpaces[] = {"quad",       "qquad",   "thinspace", "medspace",
                                        "thickspace", "enspace", "enskip",    "space"};
constexpr std::string_view kTexts[] = {"text",   "textbf",     "textit", "textrm",      "textnormal",
                                       "mbox",   "hbox",       "mathrm", "mathbf",      "mathit",
                                       "mathsf", "boldsymbol", "bm",     "operatorname"};

struct Spelling {
  std::string_view name;
  CommandSpelling as;
};
constexpr TokenKind kCommand = TokenKind::Command, kSign = TokenKind::Sign;
constexpr Spelling kSpellings[] = {
    {"dfrac", {kCommand, "frac"}},
    {"tfrac", {kCommand, "frac"}},
    {"cfrac", {kCommand, "frac"}},
    {"dbinom", {kCommand, "binom"}},
    {"tbinom", {kCommand, "binom"}},
    {"infty", {kCommand, "infinity"}},
    {"inf", {kCommand, "infinity"}},
    {"varnothing", {kCommand, "emptyset"}},
    {"lvert", {kSign, "|"}},
    {"rvert", {kSign, "|"}},
    {"vert", {kSign, "|"}},
    {"lbrace", {kSign, "\\{"}},
    {"rbrace", {kSign, "\\}"}},
    {"lbrack", {kSign, "["}},
    {"rbrack", {kSign, "]"}},
    {"lparen", {kSign, "("}},
    {"rparen", {kSign, ")"}},
    {"times", {kSign, "*"}},
    {"cdot", {kSign, "*"}},
    {"ast", {kSign, "*"}},
    {"div", {kSign, "/"}},
    {"pm", {kSign, "+-"}},
    {"mp", {kSign, "-+"}},
    {"le", {kSign, "<="}},
    {"leq", {kSign, "<="}},
    {"leqslant", {kSign, "<="}},
    {"ge", {kSign, ">="}},
    {"geq", {kSign, ">="}},
    {"geqslant", {kSign, ">="}},
    {"lt", {kSign, "<"}},
    {"gt", {kSign, ">"}},
    {"ne", {kSign, "!="}},
    {"neq", {kSign, "!="}},
    {"cup", {kSign, "cup"}},
    {"in", {kSign, "in"}},
    {"circ", {kSign, "deg"}},
    {"degree", {kSign, "deg"}},
};

template <class Range>
bool holds(const Range& names, std::string_view name) {
  return std::ranges::find(names, name) != std::end(names);
}

}  // namespace

CommandUse use_of(std::string_view name) {
  if (holds(kLayout, name)) return CommandUse::Layout;
  if (holds(kSpaces, name)) return CommandUse::Space;
  if (holds(kTexts, name)) return CommandUse::Text;
  if (name == "begin" || name == "end") return CommandUse::Environment;
  return name == "mathbb" ? CommandUse::Alphabet : CommandUse::Token;
}

CommandSpelling spelling_of(std::string_view name) {
  const auto found = std::ranges::find(kSpellings, name, &Spelling::name);
  return found == std::end(kSpellings) ? CommandSpelling{kCommand, name} : found->as;
}

bool is_function(std::string_view name) { return holds(kFunctions, name); }

bool is_plain_name(std::string_view letters) { return is_function(letters) || holds(kPlainNames, letters); }

}  // namespace sluice::rewards::math
