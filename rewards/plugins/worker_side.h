// The worker's side of the protocol (protocol.h), for workers that are this program.
#pragma once

#include <cstdio>
#include <functional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace sluice::rewards::plugins {

class WorkerSide {
 public:
  // Takes stdout for the protocol: what else the process prints there goes to stderr.
  WorkerSide();

  void say_hello(std::string_view name);
  // In place of hello.
  void say_why_not(std::string_view reason);
  // Until stdin ends; `answer` gives the reply without its id.
  void answer_all(const std::function<Json(const Json& request)>& answer);

 private:
  void write(const Json& message);

  std::FILE* const replies_;
};

}  // namespace sluice::rewards::plugins
