#include "base/trace.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json_lines.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostEvents = 200'000;

struct File {
  std::mutex mutex;
  std::ofstream out;  // guarded by mutex, as the next
  int64_t events = 0;
};

std::atomic<bool> is_kept = false;
File& file() {
  static File instance;
  return instance;
}

struct Span {
  int64_t begin = 0, end = 0;
  bool overlaps(const Span& other) const { return begin < other.end && other.begin < end; }
};
Span span_of(const Json& event) {
  const int64_t begin = event.at("ts");
  return {begin, begin + event.at("dur").get<int64_t>()};
}

}  // namespace

Trace::Trace(const std::string& name) {
  const char* folder = std::getenv(kTraceVariable);
  if (folder == nullptr) return;
  auto& keep = file();
  const std::lock_guard lock(keep.mutex);
  const auto file_name = fs::path(folder) / (name + ".jsonl");
  std::error_code error;
  fs::create_directories(folder, error);
  keep.out.open(file_name, std::ios::app);
  require<EnvironmentError>(keep.out.is_open(), "trace: cannot write ", file_name.string());
  keep.out
      << Json({{"ph", "M"}, {"name", "process_name"}, {"pid", ::getpid()}, {"args", {{"name", name}}}}).dump()
      << '\n';
  is_kept = true;
}

Trace::~Trace() {
  is_kept = false;
  auto& keep = file();
  const std::lock_guard lock(keep.mutex);
  keep.out.close();
}

int64_t trace_clock_us() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

void traced(std::string_view what, int64_t began_us) {
  if (!is_kept) return;
  const Json event = {{"ph", "X"},         {"name", what},
                      {"ts", began_us},    {"dur", trace_clock_us() - began_us},
                      {"pid", ::getpid()}, {"tid", ::gettid()}};
  auto& keep = file();
  const std::lock_guard lock(keep.mutex);
  if (keep.events++ < kMostEvents) keep.out << event.dump() << '\n';
}

Json join_traces(const fs::path& folder, const std::string& during, size_t nth) {
  std::vector<Json> events;
  std::map<int64_t, std::vector<Span>> found;  // by process, in the order of their ends
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".jsonl") continue;
    for_each_whole_json_line(entry.path(), [&](int64_t, Json event) {
      if (event.at("name").get_ref<const std::string&>().starts_with(during))
        found[event.at("pid")].push_back(span_of(event));
      events.push_back(std::move(event));
    });
  }
  require<DataError>(!found.empty(), "trace: no event in ", folder.string(), " is a \"", during, "\"");
  std::vector<Span> wanted;
  for (const auto& [process, spans] : found) wanted.push_back(spans[std::min(nth, spans.size()) - 1]);
  std::erase_if(events, [&](const Json& event) {
    if (event.at("ph") != "X") return false;
    const auto span = span_of(event);
    return std::ranges::none_of(wanted, [&](const Span& one) { return one.overlaps(span); });
  });
  return {{"displayTimeUnit", "ms"}, {"traceEvents", std::move(events)}};
}

}  // namespace sluice
