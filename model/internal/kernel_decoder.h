// The decoder that runs the kernels' own forward.
#pragma once

#include "model/decoder.h"

namespace sluice::model {

// Of a network that has a transformer().
std::unique_ptr<Decoder> make_kernel_decoder(const Network& network, const DecoderOptions& options);

}  // namespace sluice::model
