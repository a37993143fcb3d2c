// Products on a processor's matrix tiles (AMX): numbers of bfloat16, sums of float32.
//
// A number of float32 is the sum of three of bfloat16, its parts. A product of two takes six products of
// parts; the three left out are below 2^-24 of it, less than what one rounding takes. Numbers below 2^-100
// lose digits on the way, and those above 2^127 may become NaN.
#pragma once

#include "model/kernels/kernels.h"

namespace sluice::model::cpu::tiles {

// Whether this processor has tiles and the system lets this process use them.
bool usable();

// The rest wants usable(). A number of a result has the same bits whatever the other rows and columns of the
// call.

// Of panels of parts, and of bfloat16 where x is rounded to it too.
bool takes(const MatmulCall& call);
void matmul(const MatmulCall& call);

// For panels of such types.
void pack_turned(const float* numbers, int64_t stride, int64_t depth, int64_t columns, NumberType rounds_to,
                 WeightType type, void* panels);

void outer(const OuterCall& call);

}  // namespace sluice::model::cpu::tiles
