// recipes/page/run_page.html, which CMake puts into the program. NONCE in it is to be replaced.
#pragma once

namespace sluice::recipes::internal {

extern const char* const kRunPage;

}  // namespace sluice::recipes::internal
