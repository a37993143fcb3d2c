#include "model/instructions.h"

#include "model/kernels/kernels.h"

namespace sluice::model {

std::string instructions() {
  using cpu::InstructionSet;
  if (cpu::has(InstructionSet::Tiles)) return "AVX-512 with tiles";
  if (cpu::has(InstructionSet::Avx512)) return "AVX-512";
  return cpu::has(InstructionSet::Avx2) ? "AVX2" : "plain";
}

}  // namespace sluice::model
