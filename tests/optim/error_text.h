// What an Error says.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace sluice::optim {

template <class Action>
std::string error_text(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

}  // namespace sluice::optim
