// Threads of this process that share one computation at a time.
//
// Whoever computes hands over parts that do not depend on each other. The calling thread takes part after
// part, and so do the others that run just then: none is waited for that has taken nothing, so a core that
// another process has costs its share and no more.
#pragma once

#include <cstdint>
#include <functional>

namespace sluice {

// How many compute together, the caller among them; at first as many as this process has cores.
void set_work_threads(int threads);
int work_threads();

// Calls work(begin, end) for stretches that together are 0 .. count - 1, each once and of `grain` at least
// where there are so many; returns when all are done. How they are cut depends on the number of threads: what
// comes out must not. Within `work`, or while another thread has them, the caller computes alone. What `work`
// throws is thrown here, when the rest is done.
void share_work(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)>& work);

}  // namespace sluice
