#include "base/pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/error.h"

namespace sluice {

Pipe::Pipe() {
  int ends[2];
  const bool made = ::pipe2(ends, O_CLOEXEC) == 0;
  require<EnvironmentError>(made, "cannot make a pipe: ", internal::errno_text(errno));
  read_ = internal::UniqueFd(ends[0]);
  write_ = internal::UniqueFd(ends[1]);
}

}  // namespace sluice
