#include "model/instructions.h"

#include "model/kernels/kernels.h"

namespace sluice::model {

bool has_matrix_tiles() { return cpu::has(cpu::InstructionSet::Tiles); }

std::string instructions() {
  using cpu::InstructionSet;
  if (has_matrix_tiles()) return "AVX-512 with tiles";
  if (cpu::has(InstructionSet::Avx512)) return "AVX-512";
  return cpu::has(InstructionSet::Avx2) ? "AVX2" : "plain";
}

}  // namespace sluice::model
