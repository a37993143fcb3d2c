// The worked examples of the specification, data/spec/examples.json.
//
// tests/spec_coverage.py collects the names that were asked for.
#pragma once

#include <cstdlib>
#include <fstream>
#include <string>

#include "base/error.h"
#include "base/json.h"

namespace sluice {

// The example of that name: an object with `inputs`, `hyperparameters` and `expected`.
inline const Json& spec_example(const std::string& name) {
  static const Json file = read_json(SLUICE_SOURCE_DIR "/data/spec/examples.json");
  for (const Json& example : file.at("examples")) {
    if (example.at("name") != name) continue;
    if (const char* log = std::getenv("SLUICE_SPEC_EXAMPLES"))
      std::ofstream(log, std::ios::app) << name << '\n';
    return example;
  }
  fail("spec_example: no example is called ", name);
}

}  // namespace sluice
