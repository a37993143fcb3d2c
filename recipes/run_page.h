// The run in a browser: its page, what the page asks for, and the same numbers for Prometheus.
//
//   /                         the page, one file that asks nobody else for anything
//   /metrics                  Prometheus
//   /api/status               how things stand
//   /api/steps?since=N        the steps from step N on: an evaluation has the step it comes after
//   /api/rollouts?step=N      completions of a step, `&search=` those with these words; without a step, which
//                             steps have some
//   /api/recipe               the resolved recipe
//   /api/events               server-sent events: a step was done, the queue has changed
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "monitor/http_server.h"
#include "recipes/run_directory.h"
#include "recipes/run_view.h"

namespace sluice::recipes {

// Answers from the files of the run, whether it goes on or has ended. For one thread.
class RunPage {
 public:
  // Where there is a token, a request shows it: as `Authorization: Bearer`, as `?token=`, or as the cookie
  // that the latter is answered with. Where there is none, it has to name a loopback host.
  explicit RunPage(const RunDirectory& run, std::string token = "");

  monitor::HttpResponse answer(const monitor::HttpRequest& request);
  // What the followers of /api/events are told next; "" for nothing.
  std::string news();

 private:
  bool is_allowed(const monitor::HttpRequest& request) const;
  monitor::HttpResponse route(const monitor::HttpRequest& request);
  monitor::HttpResponse status();
  Json steps(const monitor::HttpRequest& request);

  RunView view_;
  const std::string token_;
  std::pair<int64_t, double> told_step_;  // the generation and the time of the newest step that was told
  int64_t told_live_;
};

// A page that is being served.
class ServedPage {
 public:
  // Where `spec` says. Says in `url` where that is, with the token if there is one; when it cannot be served,
  // why. `run` outlives it.
  static std::unique_ptr<ServedPage> start(const RunDirectory& run, const MonitorSpec& spec, std::string& url,
                                           std::string& why);
  ~ServedPage();

  // From now to the end run.json says where it is, without the token: for the process whose run it is.
  void name_in_run();

 private:
  ServedPage(const RunDirectory& run, const std::string& token, const MonitorSpec& spec);

  const RunDirectory& run_;
  std::string url_;
  bool named_ = false;
  RunPage page_;
  monitor::HttpServer server_;  // last: its thread uses the page
};

}  // namespace sluice::recipes
