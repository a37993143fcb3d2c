#include "recipes/internal/environment.h"

#include <ATen/Context.h>
#include <ATen/Version.h>
#include <torch/version.h>

#include <fstream>

#include "base/device_info.h"
#include "base/files.h"
#include "base/subprocess.h"
#include "model/instructions.h"

namespace sluice::recipes::internal {
namespace {

// As the kernel names it; "" where it does not.
std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return {};
}

std::string accelerator(const Recipe& recipe) {
  if (recipe.device == "cpu") return "none";
  const auto info = device_info();
  return info.devices.empty() ? "none" : info.devices.front().name;
}

}  // namespace

Json environment(const Recipe& recipe) {
  Json ranks = Json::object();
  for (const auto& stage : recipe.stages) {
    if (stage.trains()) ranks[stage.name] = stage.ranks.count;
  }
  return {{"program", sha256_file(own_executable())},
          {"torch", TORCH_VERSION},
          {"processor", processor()},
          {"vectors", at::get_cpu_capability()},
          {"kernels", model::instructions()},
          {"accelerator", accelerator(recipe)},
          {"ranks", ranks}};
}

std::vector<std::string> differences(const Json& was, const Json& is) {
  std::vector<std::string> lines;
  for (const auto& [name, value] : is.items()) {
    if (name == "ranks" && !was.contains(name)) continue;  // noted before there were any
    const Json before = was.value(name, Json());
    if (before != value) lines.push_back(name + " is " + value.dump() + ", it was " + before.dump());
  }
  return lines;
}

}  // namespace sluice::recipes::internal
