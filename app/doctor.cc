#include <sys/statvfs.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <memory>
#include <thread>

#include "app/command.h"
#include "app/manual.h"
#include "app/run_doctor.h"
#include "base/device_info.h"
#include "base/failpoint.h"
#include "base/json.h"
#include "base/subprocess.h"
#include "base/terminal.h"
#include "rewards/sandbox.h"

namespace sluice::app {
namespace {

bool has_program(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const auto colon = rest.find(':');
    const std::filesystem::path candidate = std::filesystem::path(rest.substr(0, colon)) / program;
    if (access(candidate.c_str(), X_OK) == 0) return true;
    rest = colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
  }
  return false;
}

uint64_t free_bytes(const std::filesystem::path& folder) {
  struct statvfs info {};
  return statvfs(folder.c_str(), &info) == 0 ? info.f_bavail * info.f_frsize : 0;
}

Json to_json(const DeviceInfo& info) {
  Json devices = Json::array();
  for (const auto& device : info.devices) {
    devices.push_back(
        {{"name", device.name},
         {"memory_bytes", device.memory_bytes},
         {"compute", std::to_string(device.compute_major) + "." + std::to_string(device.compute_minor)}});
  }
  return {{"built", info.built_with_cuda},
          {"runtime", info.runtime_version},
          {"driver", info.driver_version},
          {"nccl", info.nccl_version},
          {"devices", devices},
          {"problem", info.problem}};
}

int list_failpoints() {
  std::cout
      << "SLUICE_FAIL=PLACE:TIME:ACTION makes each process of a run fail when it comes to PLACE for the\n"
         "TIME-th time (from 1). ACTION is kill, stop (SIGSTOP), slow (nothing for 8 s) or error (as if\n"
         "the disk had failed), and where there is a number also nan or inf, which it then is. Where there\n"
         "are ranks PLACE@RANK means one alone.\n";
  for (const auto& point : failpoints()) {
    const char* has = point.has_number ? " (number)" : point.has_ranks ? " (ranks)" : "";
    std::cout << "  " << point.name << std::string(25 - std::string_view(point.name).size(), ' ')
              << point.where << has << '\n';
  }
  return 0;
}

}  // namespace

Command add_doctor(CLI::App& app) {
  struct Arguments {
    bool json = false, failpoints = false;
    std::string run;
  };
  auto arguments = std::make_shared<Arguments>();
  app.add_option("run", arguments->run, "A run directory: say what went wrong in it, and what to do");
  app.add_flag("--json", arguments->json, "Print JSON");
  app.add_flag("--failpoints", arguments->failpoints,
               "List the places at which SLUICE_FAIL=PLACE:TIME:ACTION makes a process fail")
      ->group(kMore);
  return [arguments] {
    if (arguments->failpoints) return list_failpoints();
    if (!arguments->run.empty()) return examine_run(arguments->run, arguments->json);
    const bool redis = has_program("redis-server");
    const auto cores = std::thread::hardware_concurrency();
    const uint64_t space = free_bytes(std::filesystem::current_path());
    const DeviceInfo info = device_info();
    const rewards::SandboxSupport& sandbox = rewards::sandbox_support();
    const std::string level(rewards::sandbox_name(sandbox.level));
    if (arguments->json) {
      const Json report = {{"version", SLUICE_VERSION},
                           {"cores", cores},
                           {"free_bytes", space},
                           {"redis_server", redis},
                           {"sandbox",
                            {{"level", level},
                             {"why_not_more", sandbox.why_not_more},
                             {"control_groups", sandbox.control_groups},
                             {"why_no_control_groups", sandbox.why_no_control_groups}}},
                           {"cuda", to_json(info)}};
      std::cout << report.dump(2) << '\n';
      return 0;
    }
    std::cout << "sluice " << SLUICE_VERSION << "\n  cores         " << cores << "\n  free here     "
              << format_bytes(space) << "\n  redis-server  "
              << (redis ? "found" : "missing, runs go on without it: apt-get install redis-server")
              << "\n  sandbox       " << level
              << (sandbox.why_not_more.empty() ? "" : ", not more: " + sandbox.why_not_more)
              << (sandbox.control_groups.empty()
                      ? "; memory and processes bounded one by one, no control groups: " +
                            sandbox.why_no_control_groups
                      : "; each in a control group below " + sandbox.control_groups)
              << "\n  CUDA          "
              << (info.devices.empty() ? info.problem
                                       : "runtime " + info.runtime_version + ", NCCL " + info.nccl_version)
              << '\n';
    for (const auto& device : info.devices) {
      std::cout << "    " << device.name << ", " << format_bytes(device.memory_bytes) << ", compute "
                << device.compute_major << '.' << device.compute_minor << '\n';
    }
    return 0;
  };
}

}  // namespace sluice::app
