#include "app/bench/report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <map>

#include "base/error.h"

namespace sluice::app {
namespace {

double rounded(double x, double steps = 1000) { return std::round(x * steps) / steps; }

std::map<std::string, double> best_of_each(const std::vector<PeerRate>& peers) {
  std::map<std::string, double> best;
  for (const auto& peer : peers) best[peer.name] = std::max(best[peer.name], peer.tokens_per_s);
  return best;
}

// The fastest of those that count; null where none does.
const PeerRate* best_peer(const std::vector<PeerRate>& peers) {
  const PeerRate* best = nullptr;
  for (const auto& peer : peers) {
    if (peer.counts && (best == nullptr || peer.tokens_per_s > best->tokens_per_s)) best = &peer;
  }
  return best;
}

std::string fixed(double x, int digits = 1) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, x);
  return text.data();
}

// Numbers to the right, words to the left.
std::string right(const std::string& text, size_t width) {
  return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}
std::string left(const std::string& text, size_t width) {
  return text.size() < width ? text + std::string(width - text.size(), ' ') : text;
}

void print_table_row(const BenchRow& row) {
  const double ours = row.tokens_per_s.median;
  std::cout << left(row.row, 13) << left(row.model, 6) << left(row.dtype, 9)
            << right(std::to_string(row.batch), 5) << right(fixed(ours), 12)
            << right(fixed(row.tokens_per_s.spread * 100, 0), 5) << " %  ";
  std::cout << (row.limit ? right(fixed(ours / row.limit->tokens_per_s * 100), 5) + " % of " +
                                left(row.limit->bound, 7)
                          : std::string(18, ' '));
  if (const auto* best = best_peer(row.peers)) {
    std::cout << fixed(ours / best->tokens_per_s, 2) << "x " << best->name;
  }
  std::string more;
  for (const auto& [key, value] : row.more.items()) {
    more += "  " + key + " " + (value.is_number_float() ? fixed(value.get<double>(), 3) : value.dump());
  }
  for (const auto& [name, rate] : best_of_each(row.peers)) more += "  " + name + " " + fixed(rate);
  std::cout << "\n       " << more << std::endl;
}

Json json_of(const BenchRow& row) {
  const auto* best = best_peer(row.peers);
  const double ours = row.tokens_per_s.median;
  Json peers = Json::object();
  for (const auto& [name, rate] : best_of_each(row.peers)) peers[name] = rounded(rate);
  Json line = {{"row", row.row},
               {"model", row.model},
               {"dtype", row.dtype},
               {"batch", row.batch},
               {"tokens_per_s", rounded(ours)},
               {"limit_share", row.limit ? Json(rounded(ours / row.limit->tokens_per_s, 1e6)) : Json()},
               {"peers", peers},
               {"best_peer_ratio", best == nullptr ? Json() : Json(rounded(ours / best->tokens_per_s, 1e6))},
               {"spread", rounded(row.tokens_per_s.spread)}};
  if (best != nullptr) line["best_peer"] = best->name;
  if (row.limit) {
    line["limit_tokens_per_s"] = rounded(row.limit->tokens_per_s);
    line["limited_by"] = row.limit->bound;
  }
  line.update(row.more);
  line["others"] = row.others;
  return line;
}

}  // namespace

Figure summarise(std::vector<double> values) {
  require(!values.empty(), "bench: no value to summarise");
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
  return {median, (values.back() - values.front()) / 2 / median};
}

void Report::add(const Ceilings& ceilings) {
  if (!json_) {
    std::cout << "ceilings of " << ceilings.threads << " threads: " << fixed(ceilings.fma_gflop_s)
              << " GFLOP/s float32 (" << ceilings.instructions << ")";
    if (ceilings.bf16_dot_gflop_s) std::cout << ", " << fixed(*ceilings.bf16_dot_gflop_s) << " bfloat16 dot";
    if (ceilings.bf16_tile_gflop_s)
      std::cout << ", " << fixed(*ceilings.bf16_tile_gflop_s) << " bfloat16 tiles";
    std::cout << "; reads";
    for (const auto& read : ceilings.reads) {
      std::cout << " " << read.mib << " MiB " << fixed(read.gb_s) << " GB/s,";
    }
    std::cout
        << " hand-off " << fixed(ceilings.hand_off_ns, 0) << " ns\n"
        << "row          model dtype    batch    tokens/s spread  of the limit      against the best peer"
        << std::endl;
    return;
  }
  Json reads = Json::object();
  for (const auto& read : ceilings.reads) reads[std::to_string(read.mib)] = rounded(read.gb_s);
  const auto if_any = [](const std::optional<double>& rate) { return rate ? Json(rounded(*rate)) : Json(); };
  const Json line = {{"row", "ceilings"},
                     {"threads", ceilings.threads},
                     {"instructions", ceilings.instructions},
                     {"fma_gflop_s", rounded(ceilings.fma_gflop_s)},
                     {"bf16_dot_gflop_s", if_any(ceilings.bf16_dot_gflop_s)},
                     {"bf16_tile_gflop_s", if_any(ceilings.bf16_tile_gflop_s)},
                     {"read_gb_s", reads},  // by MiB
                     {"hand_off_ns", rounded(ceilings.hand_off_ns)}};
  std::cout << line.dump() << std::endl;
}

void Report::add(const BenchRow& row) {
  if (row.others > kQuietCores) {
    std::cerr << "sluice: warning: others kept " << row.others << " cores busy while " << row.row << " "
              << row.model << " " << row.dtype << " of " << row.batch << " was measured\n";
  }
  if (json_) {
    std::cout << json_of(row).dump() << std::endl;
  } else {
    print_table_row(row);
  }
}

void Report::add(const Json& line, const std::string& text) {
  std::cout << (json_ ? line.dump() : text) << std::endl;
}

}  // namespace sluice::app
