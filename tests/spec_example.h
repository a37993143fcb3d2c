// The worked examples of the specification, data/spec/examples.json.
#pragma once

#include <string>

#include "base/error.h"
#include "base/json.h"

namespace sluice {

// The example of that name: an object with `inputs`, `hyperparameters` and `expected`.
inline const Json& spec_example(const std::string& name) {
  static const Json file = read_json(SLUICE_SOURCE_DIR "/data/spec/examples.json");
  for (const Json& example : file.at("examples")) {
    if (example.at("name") == name) return example;
  }
  fail("spec_example: no example is called ", name);
}

}  // namespace sluice
