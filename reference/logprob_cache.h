// Log-probs of the reference on disk: computed once for a model and its data.
//
// A file holds the numbers of one key, is written aside, synced and renamed, and is whole or absent.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace sluice::reference {

// All that the numbers depend on.
struct LogprobKey {
  std::string weights;    // ReferencePolicy::hash()
  std::string tokenizer;  // Tokenizer::hash()
  std::string data;       // SHA-256 of the tokenised examples
  std::string how;        // what else there is, in words: "ld_alpha 0.5, float32, cpu"

  std::string hash() const;  // SHA-256
};

// The `count` numbers of `file`, or nothing when there is no such file or it is of another key, and when it
// is damaged: then `damage` says how. No more is read than so many numbers take.
std::optional<std::vector<double>> load_logprobs(const std::filesystem::path& file, const LogprobKey& key,
                                                 int64_t count, std::string& damage);

// Replaces the file; makes its folder. Throws EnvironmentError when it cannot be written.
void save_logprobs(const std::filesystem::path& file, const LogprobKey& key,
                   const std::vector<double>& logprobs);

}  // namespace sluice::reference
