#include "text/tokenizer_json/token_model.h"

#include "base/error.h"
#include "text/tokenizer_json/component.h"

namespace sluice::text::internal {

std::unique_ptr<TokenModel> read_token_model(const Json& model, const std::string& where) {
  require<DataError>(model.is_object(), where, ": an object is wanted, saw ", model.type_name());
  if (!model.contains("type") && model.contains("merges")) return read_bpe(model, where);  // a file of old
  static const ComponentTable<std::unique_ptr<TokenModel>> table = {{"BPE", read_bpe},
                                                                    {"Unigram", read_unigram}};
  return read_component(table, model, where);
}

}  // namespace sluice::text::internal
