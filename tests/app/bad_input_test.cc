// What is wrong is said in one line, with the exit code of its kind, and nothing is overwritten.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/file_lock.h"
#include "base/files.h"
#include "base/json.h"
#include "tests/app/sluice_process.h"
#include "tests/base/taken_port.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

struct BadInput : testing::Test {
  // Runs it and expects one line on stderr that holds every part.
  void expect_refused(std::vector<std::string> arguments, int code,
                      const std::vector<std::string>& parts) const {
    const auto run = sluice(workspace_, std::move(arguments));
    EXPECT_EQ(run.code, code) << run.out << run.err;
    EXPECT_THAT(run.err, StartsWith("sluice: "));
    EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
    for (const auto& part : parts) EXPECT_THAT(run.err, HasSubstr(part));
  }

  // A run of the recipe's policy stage alone on a model directory of the test's making.
  void expect_model_refused(const fs::path& model, const std::vector<std::string>& parts) const {
    expect_refused({"run", "recipe.toml", "model.path=" + model.string()}, 3, parts);
  }

  // The shipped toy model, for the test to damage.
  fs::path copy_of_toy() const {
    fs::copy(fs::path(SLUICE_SOURCE_DIR) / "data" / "toy_llama", workspace_ / "toy");
    for (const auto& entry : fs::directory_iterator(workspace_ / "toy")) {
      fs::permissions(entry.path(), fs::perms::owner_write, fs::perm_options::add);
    }
    // As many ids as the recipe's tokenizer has pieces, which is looked at first.
    auto config = read_json(workspace_ / "toy" / "config.json");
    config["vocab_size"] = 100;
    write_plain(workspace_ / "toy" / "config.json", config.dump());
    return workspace_ / "toy";
  }

  std::vector<std::string> with_jsonl(const std::string& rows) const {
    write_plain(workspace_ / "rows.jsonl", rows);
    return {"run", "recipe.toml", "data.use=jsonl", "data.path=rows.jsonl"};
  }

  Workspace workspace_;
};

TEST_F(BadInput, MissingFiles) {
  expect_refused({"run", "none.toml"}, 2, {"none.toml"});
  expect_refused({"run", "recipe.toml", "data.path=none.txt"}, 3, {(workspace_ / "none.txt").string()});
  expect_refused({"check", "recipe.toml", "data.path=none.txt"}, 3, {(workspace_ / "none.txt").string()});
}

TEST_F(BadInput, DoesNotUseUpTheNameOfTheRun) {
  expect_refused({"run", "recipe.toml", "grpo.data.path=none.txt"}, 3, {"none.txt"});
  expect_refused({"run", "recipe.toml", "rollout.address=tcp://8.8.8.8:1"}, 2,
                 {"rollout.address", "8.8.8.8"});
  expect_refused({"run", "recipe.toml", "rollout.max_new_tokens=60"}, 3, {"corpus.txt:1", "60", "64"});
  EXPECT_FALSE(fs::exists(workspace_ / "runs"));
  EXPECT_EQ(sluice(workspace_, {"run", "recipe.toml", "sft.steps=1", "grpo.steps=1"}).code, 0);
}

TEST_F(BadInput, MissingModel) { expect_model_refused(workspace_ / "no-model", {"no-model"}); }

TEST_F(BadInput, TornSafetensors) {
  const auto model = copy_of_toy();
  fs::resize_file(model / "model.safetensors", fs::file_size(model / "model.safetensors") - 1000);
  expect_model_refused(model, {"model.safetensors"});
}

TEST_F(BadInput, OverlappingTensors) {
  const auto model = copy_of_toy();
  const std::string header = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                             R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})";
  uint64_t size = header.size();
  std::string bytes(sizeof size, '\0');
  std::memcpy(bytes.data(), &size, sizeof size);
  write_plain(model / "model.safetensors", bytes + header + std::string(12, '\0'));
  expect_model_refused(model, {"model.safetensors", "overlap"});
}

TEST_F(BadInput, MisspeltKey) {
  write_plain(workspace_ / "typo.toml", read_file(workspace_ / "recipe.toml") + "rolout = { actors = 3 }\n");
  expect_refused({"run", "typo.toml"}, 2, {"typo.toml:", "\"rolout\"", "did you mean \"rollout\"?"});
  expect_refused({"run", "recipe.toml", "grpo.optim.lrr=1"}, 2, {"\"lrr\"", "did you mean \"lr\"?"});
  EXPECT_FALSE(fs::exists(workspace_ / "runs"));
}

TEST_F(BadInput, EmptyDatasets) {
  expect_refused(with_jsonl(""), 3, {"rows.jsonl"});
  write_plain(workspace_ / "corpus.txt", "");
  expect_refused({"run", "recipe.toml", "name=text"}, 3, {"corpus.txt"});
}

TEST_F(BadInput, ARowWithoutTheColumn) {
  expect_refused(
      with_jsonl(
          "{\"prompt\": \"1+1=\", \"completion\": \"2\"}\n{\"promt\": \"1+2=\", \"completion\": \"3\"}\n"),
      3, {"rows.jsonl:2", "\"prompt\"", "promt"});
}

TEST_F(BadInput, WrongCommandLines) {
  expect_refused({"rnu", "recipe.toml"}, 2, {"\"rnu\"", "did you mean \"run\"?"});
  expect_refused({"run", "recpie.toml"}, 2, {"recpie.toml", "did you mean \"recipe.toml\"?"});
  EXPECT_THAT(sluice(workspace_, {"data", "dedup", "rows.jsonl", "--out", "x"}).err,
              HasSubstr("did you mean \"--output\"?"));
  EXPECT_THAT(sluice(workspace_, {"completion", "bsh"}).err, HasSubstr("did you mean \"bash\"?"));
  expect_refused({"reward", "explain", "math_answr"}, 2, {"did you mean \"math_answer\"?"});
  expect_refused({"check", "recipe.toml", "tools=[{ use = \"calculater\" }]"}, 2,
                 {"did you mean \"calculator\"?"});
  expect_refused({"check", "recipe.toml", "health.off=[\"no_rewrd\"]"}, 2, {"did you mean \"no_reward\"?"});
  expect_refused({"run", "recipe.toml", "--name", "a/b"}, 2, {"a/b"});
  expect_refused({"run", "recipe.toml", "lr"}, 2, {"KEY=VALUE"});
  EXPECT_EQ(sluice(workspace_, {"run"}).code, 2);
  EXPECT_EQ(sluice(workspace_, {"run", "recipe.toml", "--no-such-option"}).code, 2);
  EXPECT_EQ(sluice(workspace_, {}).code, 2);
}

TEST_F(BadInput, AUsedRunDirectory) {
  ASSERT_EQ(sluice(workspace_, {"run", "recipe.toml", "sft.steps=1", "grpo.steps=1"}).code, 0);
  const auto before = contents(workspace_.run());
  expect_refused({"run", "recipe.toml"}, 2, {workspace_.run().string(), "--resume", "--name"});
  expect_refused({"run", "recipe.toml", "--resume", "sft.steps=1", "grpo.steps=2"}, 2,
                 {"stages.grpo.steps was 1 and is now 2"});
  EXPECT_EQ(contents(workspace_.run()), before);
}

TEST_F(BadInput, ARunDirectoryInUse) {
  fs::create_directories(workspace_.run());
  const auto lock = FileLock::acquire(workspace_.run() / "lock", 0);
  ASSERT_TRUE(lock.has_value());
  expect_refused({"run", "recipe.toml"}, 4, {workspace_.run().string(), "in use"});
  EXPECT_FALSE(fs::exists(workspace_.run() / "run.json"));
}

TEST_F(BadInput, ATakenPort) {
  std::optional<TakenPort> taken(std::in_place);
  const std::string url = "tcp://127.0.0.1:" + std::to_string(taken->number());

  expect_refused({"run", "recipe.toml", "sft.steps=1", "rollout.address=" + url}, 4, {url});
  taken.reset();

  // Free again, the run goes on over tcp.
  const auto resumed =
      sluice(workspace_, {"run", "recipe.toml", "--resume", "sft.steps=1", "rollout.address=" + url});
  EXPECT_EQ(resumed.code, 0) << resumed.out << resumed.err;
}

}  // namespace
}  // namespace sluice::app
