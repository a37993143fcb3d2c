// How a mistake is reported: an exception whose message starts with who speaks and ends with what was seen.
//
// What is expected (a closed queue, a late peer) comes back as a value. Only app/ makes an Error an exit.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace sluice {

// The exit status `app` gives the process; the numbers are part of the command line's contract.
enum class ExitCode { Done = 0, Failed = 1, Usage = 2, Data = 3, Environment = 4, Health = 5 };

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, ExitCode code = ExitCode::Failed)
      : std::runtime_error(message), code_(code) {}

  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

// A wrong command line or recipe.
struct UsageError : Error {
  explicit UsageError(const std::string& message) : Error(message, ExitCode::Usage) {}
};

// Data or a model that cannot be read.
struct DataError : Error {
  explicit DataError(const std::string& message) : Error(message, ExitCode::Data) {}
};

// The machine lacks something: a program, a port, space, a device.
struct EnvironmentError : Error {
  explicit EnvironmentError(const std::string& message) : Error(message, ExitCode::Environment) {}
};

// Ended by a rule that watches the run's health.
struct HealthError : Error {
  explicit HealthError(const std::string& message) : Error(message, ExitCode::Health) {}
};

// Throws E with the parts written one after another.
template <class E = Error, class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw E(message.str());
}

// Throws E unless the condition holds.
template <class E = Error, class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]] {
    fail<E>(parts...);
  }
}

}  // namespace sluice
