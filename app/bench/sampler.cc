#include <ATen/ATen.h>

#include <functional>

#include "app/bench/rows.h"
#include "base/error.h"
#include "base/philox.h"
#include "model/draw.h"

namespace sluice::app {
namespace {

constexpr int64_t kRows = 16;

// A token and its log-prob for each row of `logits` [rows, vocab], which are overwritten.
void draw_rows(const at::Tensor& logits, const model::DrawOptions& options, model::DrawScratch& scratch) {
  const auto width = static_cast<size_t>(logits.size(1));
  for (int64_t row = 0; row < logits.size(0); ++row) {
    const double uniform = random_uniform(1, RandomUse::Sampling, 0, static_cast<uint64_t>(row), 0);
    const auto drawn = model::draw_token({logits.mutable_data_ptr<float>() + row * logits.size(1), width},
                                         uniform, options, scratch);
    require(drawn.has_value(), "bench: row ", row, " of the sampler has no token");
  }
}

void bench_vocabulary(const Bench& bench, int64_t vocab) {
  at::manual_seed(1);
  const auto logits = 2 * at::randn({kRows, vocab});  // [rows, vocab]
  auto spent = at::empty_like(logits);
  model::DrawScratch scratch;
  const auto ours = [&](const model::DrawOptions& options) {
    spent.copy_(logits);  // not counted: the last product leaves them there
    return seconds_of([&] { draw_rows(spent, options, scratch); });
  };
  const auto torch = [&] { return seconds_of([&] { at::multinomial(at::softmax(logits, -1), 1); }); };
  const model::DrawOptions plain, filtered{.temperature = 0.7, .top_k = 50, .top_p = 0.9};
  ours(plain);  // warm
  ours(filtered);
  torch();

  const LoadWatch watch;
  std::vector<double> rates, torch_rates, filtered_s;
  for (int64_t i = 0; i < bench.options.reps; ++i) {
    rates.push_back(kRows / ours(plain));
    torch_rates.push_back(kRows / torch());
    filtered_s.push_back(ours(filtered));
  }
  const auto rate = summarise(rates);
  const auto elements = static_cast<double>(vocab);
  bench.report.add({.row = "sampler",
                    .model = "draw",
                    .dtype = "float32",
                    .batch = kRows,
                    .tokens_per_s = rate,
                    .peers = {{"torch-fp32", summarise(torch_rates).median}},
                    .others = watch.others(),
                    .more = {{"vocab", vocab},
                             {"threads", 1},
                             {"ns_per_element", 1e9 / (rate.median * elements)},
                             {"ns_per_element_filtered", 1e9 * summarise(filtered_s).median /
                                                             (static_cast<double>(kRows) * elements)}}});
}

}  // namespace

void bench_sampler(const Bench& bench) {
  for (const int64_t vocab : bench.options.vocabularies) bench_vocabulary(bench, vocab);
}

}  // namespace sluice::app
