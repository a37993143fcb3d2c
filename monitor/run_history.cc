#include "monitor/run_history.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/json_lines.h"

namespace sluice::monitor {
namespace {

// Whether an alarm of this step goes on with that one.
bool goes_on(const PastAlarm& past, const Alarm& alarm) {
  return past.alarm.rule == alarm.rule && past.alarm.since_step == alarm.since_step;
}

}  // namespace

void for_each_step(const std::filesystem::path& file, const std::function<void(StepReport report)>& visit) {
  for_each_whole_json_line(file, [&](int64_t line, const Json& json) {
    visit(step_report_from(json, file.string() + ":" + std::to_string(line)));
  });
}

RunHistory::RunHistory(std::filesystem::path file, size_t kept)
    : file_(std::move(file)), kept_(std::max<size_t>(kept, 4)) {}

// A resumed run cuts the file and writes on: it may be as long as before by now, but its lines have other
// times.
bool RunHistory::is_where_it_was(std::istream& in) const {
  std::string last(static_cast<size_t>(last_size_), '\0');
  in.seekg(offset_ - last_size_);
  in.read(last.data(), last_size_);
  return in.gcount() == last_size_ && crc32c(last) == last_crc_;
}

bool RunHistory::refresh() {
  if (!std::filesystem::exists(file_)) return false;
  std::ifstream in(file_, std::ios::binary);
  require<DataError>(in.is_open(), file_.string(), ": cannot be opened: ", std::strerror(errno));
  bool changed = false;
  if (!is_where_it_was(in)) {
    steps_.clear();
    alarms_.clear();
    num_lines_ = offset_ = last_size_ = 0;
    last_crc_ = 0;
    stride_ = 2;
    ++generation_;
    changed = true;
  }
  in.clear();
  in.seekg(offset_);
  for (std::string line; std::getline(in, line) && !in.eof();) {
    const std::string where = file_.string() + ":" + std::to_string(num_lines_ + 1);
    if (line.find_first_not_of(" \t\r") != std::string::npos) {
      take(step_report_from(parse_json(line, where), where));
      changed = true;
    }
    ++num_lines_;
    last_size_ = std::ssize(line) + 1;
    offset_ += last_size_;
    last_crc_ = crc32c(line + "\n");
  }
  require<DataError>(!in.bad(), file_.string(), ": cannot be read to its end: ", std::strerror(errno));
  return changed;
}

void RunHistory::take(StepReport report) {
  for (const auto& alarm : report.alarms) {
    const auto past = std::find_if(alarms_.rbegin(), alarms_.rend(),
                                   [&](const PastAlarm& one) { return goes_on(one, alarm); });
    if (past == alarms_.rend()) {
      alarms_.push_back({alarm, report.step});
    } else {
      *past = {alarm, report.step};
    }
  }
  if (alarms_.size() > kAlarms) alarms_.erase(alarms_.begin());
  steps_.push_back(std::move(report));
  if (steps_.size() > kept_) thin();
}

// Of the older half every stride_-th step stays, and the first one of each stage.
void RunHistory::thin() {
  const size_t enough = kept_ - kept_ / 4;
  while (true) {
    const size_t older = steps_.size() - kept_ / 2;
    const int64_t origin = steps_.front().step, newest = steps_.back().step;
    std::string stage;
    size_t next = 0;
    for (size_t i = 0; i < steps_.size(); ++i) {
      const bool first = steps_[i].stage != stage;
      stage = steps_[i].stage;
      if (i < older && !first && (steps_[i].step - origin) % stride_ != 0) continue;
      if (next != i) steps_[next] = std::move(steps_[i]);
      ++next;
    }
    steps_.resize(next);
    if (next <= enough || stride_ > newest) return;
    stride_ *= 2;
  }
}

}  // namespace sluice::monitor
