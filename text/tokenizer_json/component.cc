#include "text/tokenizer_json/component.h"

namespace sluice::text::internal {

const Json& json_part(const Json& object, const std::string& key, const std::string& where) {
  require<DataError>(object.is_object(), where, ": an object is wanted, saw ", object.type_name());
  const auto found = object.find(key);
  require<DataError>(found != object.end() && found->is_structured(), where, ".", key,
                     ": an array or an object is wanted, saw ",
                     found == object.end() ? "nothing" : found->type_name());
  return *found;
}

}  // namespace sluice::text::internal
