// What format_tags and tag_count share.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rewards/reward.h"

namespace sluice::rewards::internal {

// The option `tags`, think and answer unless given. Throws UsageError for a name that is none or stands
// twice.
std::vector<std::string> tags_option(const RewardSpec& spec);

// Where `mark` stands in `text`; empty unless it occurs exactly once.
std::optional<size_t> only_place(std::string_view text, std::string_view mark);

}  // namespace sluice::rewards::internal
