#include "rewards/plugins/worker_side.h"

#include <fcntl.h>
#include <unistd.h>

#include <iostream>

#include "rewards/plugins/protocol.h"

namespace sluice::rewards::plugins {
namespace {

std::FILE* take_stdout() {
  const int own = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  ::dup2(STDERR_FILENO, STDOUT_FILENO);
  return ::fdopen(own, "w");
}

}  // namespace

WorkerSide::WorkerSide() : replies_(take_stdout()) {}

void WorkerSide::say_hello(std::string_view name) { write({{"sluice_reward", kProtocol}, {"name", name}}); }

void WorkerSide::say_why_not(std::string_view reason) {
  write({{"sluice_reward", kProtocol}, {"error", reason}});
}

void WorkerSide::answer_all(const std::function<Json(const Json& request)>& answer) {
  for (std::string line; std::getline(std::cin, line);) {
    const Json request = Json::parse(line);
    Json reply = {{"id", request.at("id")}};
    reply.update(answer(request));
    write(reply);
  }
}

void WorkerSide::write(const Json& message) {
  const auto line = message.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  std::fwrite(line.data(), 1, line.size(), replies_);
  std::fflush(replies_);
}

}  // namespace sluice::rewards::plugins
