// What a name in the options stands for.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/error.h"

namespace sluice::optim {

template <class T>
struct NamedChoice {
  const char* name;
  T value;
};

template <class T>
std::vector<std::string> names_of(std::span<const NamedChoice<T>> table) {
  std::vector<std::string> names;
  for (const auto& choice : table) names.emplace_back(choice.name);
  return names;
}

// Throws Error listing the names that `what` may have for one that is none of them.
template <class T>
const T& choose(std::span<const NamedChoice<T>> table, const std::string& name, const char* what) {
  std::string known;
  for (const auto& choice : table) {
    if (choice.name == name) return choice.value;
    known += (known.empty() ? "" : ", ") + std::string(choice.name);
  }
  fail(what, " is \"", name, "\", known are ", known);
}

}  // namespace sluice::optim
