// Whether drafts pay, by the clock: a few steps with, a few without, then many of the faster kind.
#pragma once

#include <cstdint>

namespace sluice::actors {

class DraftSwitch {
 public:
  bool on() const { return turn_ == Turn::With || (turn_ == Turn::Better && with_is_better_); }

  // A step that took so long for so many tokens: with drafts if they are on(), else one that might have had
  // some.
  void count(double seconds, uint64_t tokens) {
    seconds_ += seconds;
    tokens_ += static_cast<double>(tokens);
    if (++steps_ < (turn_ == Turn::Better ? kStepsBetween : kStepsOfATurn)) return;
    if (turn_ == Turn::With) with_rate_ = tokens_ / seconds_;
    if (turn_ == Turn::Without) with_is_better_ = with_rate_ > tokens_ / seconds_;
    turn_ = turn_ == Turn::With ? Turn::Without : turn_ == Turn::Without ? Turn::Better : Turn::With;
    seconds_ = tokens_ = 0;
    steps_ = 0;
  }

 private:
  static constexpr int kStepsOfATurn = 16, kStepsBetween = 512;
  enum class Turn { With, Without, Better };

  Turn turn_ = Turn::With;
  int steps_ = 0;
  double seconds_ = 0, tokens_ = 0, with_rate_ = 0;
  bool with_is_better_ = false;
};

}  // namespace sluice::actors
