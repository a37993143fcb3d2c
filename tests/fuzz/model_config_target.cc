#include "base/json.h"
#include "model/model_config.h"
#include "tests/fuzz/targets.h"

namespace sluice::fuzz {
void read_model_config(std::string_view bytes) {
  refuse_or([&] {
    const auto config = model::model_config_from_json(parse_json(bytes, "fuzzed"), "fuzzed");
    must_hold(config.num_layers() > 0 && config.hidden_size > 0 && config.vocab_size > 0, "a size of 0");
    const auto written = model::model_config_to_json(config, "float32").dump();
    const auto again = model::model_config_from_json(parse_json(written, "written"), "written");
    must_hold(model::model_config_to_json(again, "float32").dump() == written,
              "another network when read back");
  });
}

}  // namespace sluice::fuzz
