#include "actors/speculative.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace sluice::actors {
namespace {

void check_same(std::span<const double> p, std::span<const double> q) {
  require(p.size() == q.size() && !p.empty(), "speculative decoding: distributions over ", p.size(), " and ",
          q.size(), " tokens");
}

}  // namespace

std::vector<double> acceptance(std::span<const double> p, std::span<const double> q) {
  check_same(p, q);
  std::vector<double> kept;
  for (size_t v = 0; v < p.size(); ++v) kept.push_back(q[v] > 0.0 ? std::min(1.0, p[v] / q[v]) : 0.0);
  return kept;
}

std::vector<double> residual(std::span<const double> p, std::span<const double> q) {
  check_same(p, q);
  std::vector<double> left;
  for (size_t v = 0; v < p.size(); ++v) left.push_back(std::max(0.0, p[v] - q[v]));
  const double sum = std::accumulate(left.begin(), left.end(), 0.0);
  if (sum <= 0.0) return {p.begin(), p.end()};
  for (double& value : left) value /= sum;
  return left;
}

size_t num_kept(std::span<const int> tokens, std::span<const double> uniforms,
                std::span<const std::vector<double>> p, std::span<const std::vector<double>> q) {
  require(uniforms.size() >= tokens.size() && p.size() >= tokens.size() && q.size() >= tokens.size(),
          "speculative decoding: ", tokens.size(), " drafts, ", uniforms.size(), " numbers, ", p.size(),
          " and ", q.size(), " distributions");
  size_t kept = 0;
  while (kept < tokens.size()) {
    const auto token = static_cast<size_t>(tokens[kept]);
    require(token < p[kept].size(), "speculative decoding: a draft ", token, " of ", p[kept].size(),
            " tokens");
    if (uniforms[kept] > acceptance(p[kept], q[kept])[token]) break;
    ++kept;
  }
  return kept;
}

double expected_tokens(double acceptance_rate, int drafts) {
  double sum = 0.0, all_kept = 1.0;
  for (int i = 0; i <= drafts; ++i, all_kept *= acceptance_rate) sum += all_kept;
  return sum;
}

}  // namespace sluice::actors
