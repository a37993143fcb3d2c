#include <ATen/ATen.h>
#include <sys/mman.h>

#include <cstring>
#include <functional>
#include <vector>

#include "app/bench/rows.h"
#include "base/error.h"
#include "transport/shared_weights.h"

namespace sluice::app {
namespace {

// Memory of a process alone, on large pages where the system has some.
class PrivateMemory {
 public:
  explicit PrivateMemory(size_t size)
      : size_(size),
        data_(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    require<EnvironmentError>(data_ != MAP_FAILED, "bench: no memory for ", size, " bytes");
    ::madvise(data_, size, MADV_HUGEPAGE);
  }
  ~PrivateMemory() { ::munmap(data_, size_); }
  PrivateMemory(const PrivateMemory&) = delete;
  PrivateMemory& operator=(const PrivateMemory&) = delete;
  void* data() const { return data_; }

 private:
  size_t size_;
  void* data_;
};

model::Rounding rounding_of(const std::string& dtype) {
  return dtype == "int8"       ? model::Rounding::Int8
         : dtype == "bfloat16" ? model::Rounding::BFloat16
                               : model::Rounding::None;
}

void bench_one(const Bench& bench, const std::string& model, const std::string& dtype) {
  const auto network = make_bench_network(model, "float32");
  const auto weights =
      model::Network::snapshot(network->config(), at::kCPU, rounding_of(dtype), network->flat());
  const auto size = static_cast<size_t>(weights.bytes);
  transport::WeightStore store;
  model::Network actor(network->config(), at::kCPU);
  actor.round_products(rounding_of(dtype));
  int64_t version = 0;
  transport::WeightAnnouncement announcement;
  std::vector<double> rates, publish_s, copy_s, new_copy_s, map_s;
  const PrivateMemory from(size), there(size);
  std::memset(from.data(), 1, size);

  const LoadWatch watch;
  for (int64_t i = -1; i < bench.options.reps; ++i) {
    const double publish = seconds_of([&] {
      announcement =
          store.publish(version, {.layout = weights.layout, .bytes = size, .write = weights.write});
    });
    const double map = seconds_of([&] {
      const transport::MappedWeights mapped(announcement);
      actor.map(mapped.layout(), mapped.bytes().data(), weights.bytes);
    });
    const double copy = seconds_of([&] { std::memcpy(there.data(), from.data(), size); });
    const double new_copy = seconds_of([&] {
      const PrivateMemory fresh(size);
      std::memcpy(fresh.data(), from.data(), size);
    });
    store.retire(++version);
    if (i < 0) continue;  // warms
    rates.push_back(1 / publish);
    publish_s.push_back(publish);
    map_s.push_back(map);
    copy_s.push_back(copy);
    new_copy_s.push_back(new_copy);
  }
  const auto ms = [](const std::vector<double>& seconds) { return 1e3 * summarise(seconds).median; };
  bench.report.add({.row = "publish",
                    .model = model,
                    .dtype = dtype,
                    .batch = 1,
                    .tokens_per_s = summarise(rates),
                    .others = watch.others(),
                    .more = {{"bytes", weights.bytes},
                             {"threads", bench.options.threads},
                             {"ms", ms(publish_s)},
                             {"ms_memcpy", ms(copy_s)},
                             {"ms_memcpy_to_new_memory", ms(new_copy_s)},
                             {"ms_map", ms(map_s)},
                             {"memcpys", ms(publish_s) / ms(new_copy_s)}}});
}

}  // namespace

void bench_publish(const Bench& bench) {
  for (const auto& model : bench.options.models) {
    for (const auto& dtype : bench.options.dtypes) bench_one(bench, model, dtype);
  }
}

}  // namespace sluice::app
