// ProcessGroupGloo.hpp asks for it by this name.
#pragma once

#include "transport/internal/gloo/context.h"
