// What `sluice top` shows, as lines of a screen.
#pragma once

#include <string>
#include <vector>

#include "recipes/run_view.h"

namespace sluice::app {

struct TopStyle {
  size_t columns = 80, rows = 24;
  bool colour = false;
  bool blocks = true;  // sparklines of block characters; else of ASCII
};

// At most `rows` lines of at most `columns`: what there is no room for is left out from below, alarms last.
std::vector<std::string> top_lines(const recipes::RunView& view, const TopStyle& style);

// "▁▃▇" of the values, the last `columns` of them, between their least and greatest.
std::string sparkline(const std::vector<double>& values, size_t columns, bool blocks);

}  // namespace sluice::app
