// Numbers that the ranks of a learner counted, each of its own part.
#pragma once

#include <vector>

#include "transport/collective.h"

namespace sluice::transport {

// Their sum over the ranks, number by number and in the order of the ranks, on every rank.
std::vector<double> sum_over(Collective& ranks, const std::vector<double>& own);

}  // namespace sluice::transport
