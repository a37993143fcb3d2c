// `sluice bench tokenizer`: how fast text becomes tokens and tokens text.
#pragma once

#include "app/command.h"

namespace sluice::app {

Command add_bench_tokenizer(CLI::App& app);

}  // namespace sluice::app
