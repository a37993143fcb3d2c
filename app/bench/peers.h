// What a user would pick instead, measured in the same run by the scripts of the peers' kit.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace sluice::app {

struct PeersOptions {
  std::string directory;  // of bench_generate.py, make_model.py and the others; empty: no peers
  std::string python;     // empty: directory/.venv/bin/python, else $SLUICE_PEERS_PYTHON
  std::string models;     // where make_model.py has written, or writes; empty: directory/models
};

enum class PeerTask { Generate, Learn, Score, Grpo };

// The same work as a row of ours.
struct PeerWork {
  PeerTask task = PeerTask::Generate;
  std::string model;  // tiny, S or M
  int64_t batch = 0, prompt = 0, new_tokens = 0;
  int threads = 1;
  int64_t reps = 3;
  bool narrow = false;  // also with weights narrower than float32; learn: with everything in bfloat16
  bool ragged = false;  // learn from completions of different lengths
  int64_t group = 1;    // completions of a prompt, of whole steps
};

// A line that the kit printed.
struct PeerResult {
  std::string peer, dtype;                                  // "llamacpp", "bf16"
  double decode_tok_s = 0, prompt_tok_s = 0, prompt_s = 0;  // of what generates
  double tokens_s = 0;                                      // of what learns or scores
  double samples_s = 0;                                     // of whole steps

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
  std::vector<PeerResult> generate(const PeerWork& work) const;
  std::vector<PeerResult> learn(const PeerWork& work) const;
  std::vector<PeerResult> grpo(const PeerWork& work) const;
  // The lines that a script printed, until it failed where it did.
  std::vector<Json> run(const std::string& what, const std::vector<std::string>& arguments,
                        const std::map<std::string, std::string>& environment = {}) const;

  std::filesystem::path directory_, python_, models_;
};

}  // namespace sluice::app
