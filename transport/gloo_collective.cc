#include "transport/gloo_collective.h"

#include <ATen/ATen.h>

#include <chrono>
#include <string>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <vector>

#include "base/error.h"

namespace sluice::transport {
namespace {

std::string key_of(int64_t rank) { return "sums/" + std::to_string(rank); }

std::string list(const std::vector<int64_t>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(ranks[i]);
  return text;
}

// LibTorch's messages go on with a backtrace.
std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

}  // namespace

struct GlooCollective::Group {
  c10::intrusive_ptr<c10d::FileStore> store;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo;

  // How many sums a rank has begun, for the others' messages.
  void tell(int64_t rank, int64_t sums) {
    const std::string text = std::to_string(sums);
    store->set(key_of(rank), std::vector<uint8_t>(text.begin(), text.end()));
  }
  // The ranks that have begun fewer sums, or have not come at all.
  std::vector<int64_t> behind(int64_t sums, int64_t size) {
    std::vector<int64_t> ranks;
    for (int64_t rank = 0; rank < size; ++rank) {
      if (!store->check({key_of(rank)}) || std::stoll(store->get_to_str(key_of(rank))) < sums)
        ranks.push_back(rank);
    }
    return ranks;
  }
};

GlooCollective::GlooCollective(const GlooOptions& options)
    : options_(options), group_(std::make_unique<Group>()) {
  require<UsageError>(options.size > 0 && options.rank >= 0 && options.rank < options.size,
                      "GlooCollective: rank ", options.rank, " of ", options.size);
  require<UsageError>(options.timeout_ms > 0, "GlooCollective: a time-out of ", options.timeout_ms, " ms");
  const std::chrono::milliseconds timeout(options.timeout_ms);
  auto& [store, gloo] = *group_;
  std::vector<std::string> everyone;
  for (int64_t rank = 0; rank < options.size; ++rank) everyone.push_back(key_of(rank));
  try {
    store = c10::make_intrusive<c10d::FileStore>(options.meeting.string(), static_cast<int>(options.size));
    store->setTimeout(timeout);
    group_->tell(options.rank, 0);
    store->wait(everyone, timeout);

    auto gloo_options = c10d::ProcessGroupGloo::Options::create(timeout);
    gloo_options->devices = {c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")};
    gloo_options->threads = 1;
    gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(store, static_cast<int>(options.rank),
                                                       static_cast<int>(options.size), gloo_options);
  } catch (const std::exception& error) {
    const auto missing = store ? group_->behind(0, options.size) : std::vector<int64_t>();
    fail<EnvironmentError>("rank ", options.rank, " of ", options.size, " waited ", options.timeout_ms,
                           " ms at ", options.meeting.string(), ": ",
                           missing.empty() ? first_line(error) : list(missing) + " did not come");
  }
}

GlooCollective::~GlooCollective() = default;

void GlooCollective::all_reduce_sum(at::Tensor& tensor) {
  require(tensor.is_cpu() && tensor.is_contiguous(), "GlooCollective: a tensor of ", tensor.sizes(), " on ",
          tensor.device(), " is not contiguous on the CPU");
  group_->tell(options_.rank, ++sums_);
  try {
    std::vector<at::Tensor> tensors = {tensor};
    group_->gloo->allreduce(tensors)->wait();
  } catch (const std::exception& error) {
    const auto missing = group_->behind(sums_, options_.size);
    fail("rank ", options_.rank, " of ", options_.size, ", sum ", sums_, " of ", tensor.numel(), " numbers: ",
         missing.empty() ? first_line(error)
                         : list(missing) + " did not come within " + std::to_string(options_.timeout_ms) +
                               " ms (" + first_line(error) + ")");
  }
}

}  // namespace sluice::transport
