// adapter.py, put into the program by the build.
#pragma once

namespace sluice::rewards::plugins {

extern const char* const kPythonAdapter;

}  // namespace sluice::rewards::plugins
