#include "text/jinja/token_stream.h"

namespace sluice::text::jinja {

std::string TokenStream::describe() const {
  switch (current().kind) {
    case Token::Kind::Text:
      return "text";
    case Token::Kind::BlockBegin:
      return "'{%'";
    case Token::Kind::BlockEnd:
      return "'%}'";
    case Token::Kind::OutputBegin:
      return "'{{'";
    case Token::Kind::OutputEnd:
      return "'}}'";
    case Token::Kind::String:
      return "a text";
    case Token::Kind::Integer:
    case Token::Kind::Real:
      return "a number";
    case Token::Kind::End:
      return "the end of the template";
    default:
      return "'" + current().text.substr(0, 40) + "'";
  }
}

}  // namespace sluice::text::jinja
