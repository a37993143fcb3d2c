#include "actors/stop_ids.h"

namespace sluice::actors {

std::set<int32_t> stop_ids(const model::Network& network, const text::Tokenizer& tokenizer) {
  std::set<int32_t> ids;
  for (const int64_t id : network.config().eos_ids) ids.insert(static_cast<int32_t>(id));
  if (tokenizer.eos_id()) ids.insert(*tokenizer.eos_id());
  return ids;
}

}  // namespace sluice::actors
