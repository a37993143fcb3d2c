// A safetensors file written aside: nobody sees it before it is published.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "model/safetensors.h"

namespace sluice::model {

class UnpublishedFile {
 public:
  // Writes everything under a temporary name beside `file`, and syncs it.
  UnpublishedFile(const std::filesystem::path& file, std::span<const TensorSource> tensors,
                  const std::map<std::string, std::string>& metadata);
  UnpublishedFile(const UnpublishedFile&) = delete;
  UnpublishedFile& operator=(const UnpublishedFile&) = delete;
  ~UnpublishedFile();  // removes what was not published

  // Gives it its name, in place of what had it. The folder is for the caller to sync.
  void publish();

 private:
  void write(std::span<const TensorSource> tensors, const std::string& header) const;

  const std::filesystem::path file_;
  const std::filesystem::path temporary_;
  bool published_ = false;
};

}  // namespace sluice::model
