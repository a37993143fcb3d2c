// What `sluice bench` prints: a JSON line for each row, or a table for people.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/bench/ceilings.h"
#include "app/bench/load.h"
#include "app/bench/models.h"
#include "base/json.h"

namespace sluice::app {

// Median, and half the range as a share of it.
struct Figure {
  double median = 0, spread = 0;
};
Figure summarise(std::vector<double> values);

struct PeerRate {
  std::string name;  // "llamacpp-bf16"
  double tokens_per_s = 0;
  bool counts = true;  // its weights take as many bytes as ours or more
};

struct BenchRow {
  std::string row, model, dtype;
  int64_t batch = 0;
  Figure tokens_per_s;
  std::optional<Limit> limit;
  std::vector<PeerRate> peers;  // the best of a name is shown
  double others = 0;            // cores that others kept busy meanwhile
  Json more = Json::object();   // what this kind of row has besides
};

class Report {
 public:
  explicit Report(bool json) : json_(json) {}

  // First of all, with the table's head.
  void add(const Ceilings& ceilings);
  // Warns on stderr where the machine was not quiet.
  void add(const BenchRow& row);
  // What is no speed: a line as it is, or `text`.
  void add(const Json& line, const std::string& text);

 private:
  const bool json_;
};

}  // namespace sluice::app
