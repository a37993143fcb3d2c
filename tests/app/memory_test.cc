// What `sluice check` plans beside what learners really take: the most resident memory that each had, in runs
// of a network of 34 MB, less that of a network of next to nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSupervised = R"(name = "tiny"
tokenizer = { train = "characters" }
data = { use = "text", path = "corpus.txt", prompt_chars = 8, window_chars = 63 }
monitor = { redis = "off" }
[[stages]]
use = "sft"
steps = 2
batch = { examples_per_step = 4 }
)";

// Eight blocks of 1.05 million numbers, and next to nothing beside them.
const std::string kWide = "model={hidden_size=256,layers=8,heads=4,intermediate_size=1024,max_position=64}";
const std::string kNarrow = "model={hidden_size=16,layers=8,heads=4,intermediate_size=16,max_position=64}";
constexpr int64_t kWeights = 8 * (4 * 256 * 256 + 3 * 256 * 1024) * 4;  // bytes

class PlannedWorkspace : public Workspace {
 public:
  PlannedWorkspace() { write_file_atomically(*this / "supervised.toml", kSupervised); }
};

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// The folders in /proc of learners that work in this workspace, and their ranks.
std::map<fs::path, std::string> learners_in(const Workspace& workspace) {
  std::map<fs::path, std::string> found;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    if (fs::read_symlink(entry.path() / "cwd", gone) != (workspace / "runs").parent_path()) continue;
    std::vector<std::string> words;
    std::istringstream command(text_of(entry.path() / "cmdline"));
    for (std::string word; std::getline(command, word, '\0');) words.push_back(word);
    if (words.size() > 1 && words[1] == "learner") found[entry.path()] = words.back();
  }
  return found;
}

// The most that a process had so far, in bytes; 0 when it has ended.
int64_t peak_of(const fs::path& process) {
  std::istringstream status(text_of(process / "status"));
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;
  }
  return 0;
}

// Of a run to its end, by rank.
std::map<std::string, int64_t> peaks_of(const std::string& recipe, std::vector<std::string> more) {
  const PlannedWorkspace workspace;
  std::vector<std::string> arguments = {"run", recipe};
  arguments.insert(arguments.end(), more.begin(), more.end());
  Sluice run(workspace, arguments);
  std::map<std::string, int64_t> peaks;
  std::map<fs::path, std::string> learners;
  for (int64_t look = 0; !run.process().wait(/*timeout_ms=*/2); ++look) {
    if (look % 16 == 0) learners = learners_in(workspace);  // a search of all processes takes as long as both
    for (const auto& [process, rank] : learners) peaks[rank] = std::max(peaks[rank], peak_of(process));
  }
  EXPECT_EQ(run.exit_code(), 0) << run.out() << run.err();
  return peaks;
}

// By role, for one of its processes.
std::map<std::string, int64_t> plan_of(const std::string& recipe, std::vector<std::string> more) {
  const PlannedWorkspace workspace;
  std::vector<std::string> arguments = {"check", recipe, "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const auto check = sluice(workspace, arguments);
  EXPECT_EQ(check.code, 0) << check.err;
  std::map<std::string, int64_t> plan;
  const Json checked = parse_json(check.out, "check");
  for (const auto& role : checked.at("memory").at("stages").at(0).at("roles")) {
    plan[role.at("role")] = role.at("total").get<int64_t>();
  }
  return plan;
}

struct Compared {
  int64_t planned = 0, seen = 0;  // beside those of a narrow network
};

Compared compare(const std::string& recipe, const std::vector<std::string>& more = {}) {
  const auto with = [&](const std::string& model) {
    auto arguments = more;
    arguments.push_back(model);
    return arguments;
  };
  const auto narrow = peaks_of(recipe, with(kNarrow));
  const auto plan = plan_of(recipe, with(kWide)), least = plan_of(recipe, with(kNarrow));
  Compared compared;
  for (const auto& [role, bytes] : plan) compared.planned += bytes - least.at(role);
  // Peaks of one run differ by a tenth from those of the next: the least is what was needed.
  compared.seen = std::numeric_limits<int64_t>::max();
  for (int run = 0; run < 3; ++run) {
    const auto wide = peaks_of(recipe, with(kWide));
    compared.seen = std::min(compared.seen, wide.rbegin()->second - narrow.rbegin()->second);
  }
  return compared;
}

void expect_planned(int64_t seen, int64_t planned, const std::string& what) {
  testing::Test::RecordProperty(what + "_planned", std::to_string(planned));
  testing::Test::RecordProperty(what + "_seen", std::to_string(seen));
  EXPECT_GT(static_cast<double>(seen), 0.85 * static_cast<double>(planned)) << what;
  EXPECT_LT(static_cast<double>(seen), 1.25 * static_cast<double>(planned)) << what;
}

TEST(PlannedMemory, IsWhatALearnerTakes) {
  const auto one = compare("supervised.toml");
  expect_planned(one.seen, one.planned, "one_rank");
  EXPECT_GT(one.planned, 4 * kWeights);
}

TEST(PlannedMemory, IsWhatActivationsTakeAndWhatCheckpointsLeaveOfThem) {
  const std::vector<std::string> many = {"batch.examples_per_step=16"};
  const auto all = compare("supervised.toml", many);
  const auto few = compare("supervised.toml", {many[0], "batch.gradient_checkpointing=true"});
  expect_planned(all.seen, all.planned, "activations");
  expect_planned(few.seen, few.planned, "checkpoints");
  EXPECT_NEAR(static_cast<double>(all.seen - few.seen), static_cast<double>(all.planned - few.planned),
              0.2 * static_cast<double>(all.planned));
  EXPECT_LT(few.seen, all.seen);
}

}  // namespace
}  // namespace sluice::app
