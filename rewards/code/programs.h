// The Python that stands on the other side of the sandbox's wall. Each is what `python3 -c` is given.
#pragma once

namespace sluice::rewards::code {

// All read their input from this descriptor, up to the end.
inline constexpr int kInputFd = 3;
// What the first line on stderr says before anything of the policy's is looked at.
inline constexpr const char* kStarted = "started\n";

// Runs the program that it reads.
extern const char* const kScript;

// Runs the program that it reads, then answers requests about the names in it: JSON lines from stdin to
// stdout. All of it may be the policy's by then, so an answer is not believed to be anything but data.
extern const char* const kSolution;

// Reads {"setup", "tests", "partial"} and tries the tests on a solution that it talks with over stdin and
// stdout. Says on stderr how each went, a line each: "pass", "fail", "unsupported WHY" (of the test itself),
// or "absent" (the solution never started), "unloaded" (its program raised), "gone" (it ended).
//
// No object of the policy's ever comes here: results are rebuilt from None, bool, int, float, complex, str,
// bytes, list, tuple, set and dict, and anything else stays where it is behind a Remote, which equals nothing
// but itself. What stands in a test besides the function under test is Python's own.
extern const char* const kJudge;

}  // namespace sluice::rewards::code
