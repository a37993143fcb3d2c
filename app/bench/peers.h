// What a user would pick instead, measured in the same run by the scripts of the peers' kit.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace sluice::app {

struct PeersOptions {
  std::string directory;  // of bench_generate.py and make_model.py; empty: no peers
  std::string python;     // empty: directory/.venv/bin/python, else $SLUICE_PEERS_PYTHON
  std::string models;     // where make_model.py has written, or writes; empty: directory/models
};

// The same work as a row of ours.
struct PeerWork {
  std::string model;  // tiny, S or M
  int64_t batch = 0, prompt = 0, new_tokens = 0;
  int threads = 1;
  int64_t reps = 3;
  bool narrow = false;  // also with weights narrower than float32
};

// A line that the kit printed.
struct PeerResult {
  std::string peer, dtype;  // "llamacpp", "bf16"
  double decode_tok_s = 0, prompt_tok_s = 0, prompt_s = 0;

  int bytes_per_weight() const;
};

class Peers {
 public:
  // Throws UsageError where the scripts or the Python are not there.
  explicit Peers(const PeersOptions& options);

  // Every peer that can do the work, in each of its dtypes. One that fails is left out, and its reason said
  // on stderr; so is that the machine was not quiet.
  std::vector<PeerResult> measure(const PeerWork& work) const;

 private:
  // Writes the model where it is not there yet; false, said on stderr, where that fails.
  bool make_model(const std::string& model) const;
  // The lines that a script printed, until it failed where it did.
  std::vector<PeerResult> run(const std::string& what, const std::vector<std::string>& arguments) const;

  std::filesystem::path directory_, python_, models_;
};

}  // namespace sluice::app
