// `export`: what was loaded, saved for other tools.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/lora.h"
#include "model/safetensors.h"
#include "tests/app/model_folder.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct Export : testing::Test {
  Finished run(const std::string& model, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"export", model, "--output", "out"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return sluice(workspace_, arguments);
  }

  Workspace workspace_;
};

TEST_F(Export, KeepsEveryTensorAsItWasStored) {
  ASSERT_EQ(run(golden_folder("llama").string()).code, 0);
  const auto before = model::read_safetensors(golden_folder("llama") / "model.safetensors");
  std::map<std::string, at::Tensor> after;
  for (const auto& [name, tensor] : model::read_safetensors(workspace_ / "out" / "model.safetensors")) {
    after[name] = tensor;
  }
  ASSERT_EQ(after.size(), before.size());
  for (const auto& [name, tensor] : before) {
    EXPECT_EQ(after.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(after.at(name), tensor)) << name;
  }
}

TEST_F(Export, KeepsTheTokenizersFilesAndNamesEveryStopId) {
  const auto model = workspace_ / "letters";
  write_letters(model);
  const auto tokenizer = text::load_tokenizer(model);
  const auto letter = *tokenizer->find("c");
  Json config = read_json(model / "config.json");
  config["eos_token_id"] = letter;
  write_plain(model / "config.json", config.dump());

  ASSERT_EQ(run(model.string(), {"--dtype", "bfloat16"}).code, 0);
  const auto out = workspace_ / "out";
  for (const char* file : {"tokenizer.model", "tokenizer_config.json", "chat_template.jinja"}) {
    EXPECT_EQ(read_file(out / file), read_file(model / file)) << file;
  }
  EXPECT_EQ(read_json(out / "generation_config.json").at("eos_token_id"),
            Json({letter, 2}));  // the first stays first
  EXPECT_EQ(read_json(out / "config.json").at("dtype"), "bfloat16");
  EXPECT_EQ(check_directory(out), "");
}

TEST_F(Export, TemplatesThatAreNotReadOrDoNotRenderAreSaidAndLeftOut) {
  const auto model = workspace_ / "letters";
  write_letters(model);
  for (const char* bad : {"{% unknown %}", "{{ raise_exception('no answers here') }}"}) {
    write_plain(model / "chat_template.jinja", bad);
    const auto finished = run(model.string());
    EXPECT_EQ(finished.code, 0) << finished.err;
    EXPECT_THAT(finished.err, HasSubstr("what the chat template ends a turn with ends no completion"));
    EXPECT_EQ(read_json(workspace_ / "out" / "config.json").at("eos_token_id"), 2);
    EXPECT_EQ(read_file(workspace_ / "out" / "chat_template.jinja"), bad);
    fs::remove_all(workspace_ / "out");
  }
}

TEST_F(Export, WritesOverNothing) {
  write_plain(workspace_ / "out" / "mine.txt", "mine");
  const auto run = this->run(golden_folder("llama").string());
  EXPECT_EQ(run.code, 2);
  EXPECT_THAT(run.err, HasSubstr("is there already"));
  EXPECT_EQ(contents(workspace_ / "out").size(), 1u);
  EXPECT_EQ(read_file(workspace_ / "out" / "mine.txt"), "mine");
}

TEST_F(Export, SaysWhatItLeavesOutOrWidens) {
  const auto widened = run(golden_folder("llama_f8").string());
  EXPECT_EQ(widened.code, 0);
  EXPECT_THAT(widened.err, HasSubstr("F8 weights are widened"));
  fs::rename(workspace_ / "out", workspace_ / "first");
  const auto skipped = run(golden_folder("deepseek_mtp").string());
  EXPECT_EQ(skipped.code, 0);
  EXPECT_THAT(skipped.err, HasSubstr("multi-token"));
}

TEST_F(Export, TakesARunOrACheckpoint) {
  const auto model = workspace_ / "runs" / "mine" / "checkpoints" / "step_000003" / "hf";
  write_letters(model);
  fs::create_symlink("step_000003", workspace_ / "runs" / "mine" / "checkpoints" / "latest");
  const std::string weights = read_file(model / "model.safetensors");
  for (const char* path :
       {"runs/mine", "runs/mine/checkpoints/step_000003", "runs/mine/checkpoints/latest"}) {
    ASSERT_EQ(run(path).code, 0) << path;
    EXPECT_EQ(read_file(workspace_ / "out" / "model.safetensors"), weights) << path;
    fs::remove_all(workspace_ / "out");
  }
  EXPECT_EQ(run("runs").code, 3);
}

// What an adapter does beside the weights it does merged into them.
TEST_F(Export, MergesAnAdapter) {
  const auto model = workspace_ / "letters";
  write_letters(model);
  const auto network = model::load_model(model, at::kCPU);
  network->add_adapter({.rank = 2, .alpha = 8.0, .targets = {"q_proj", "down_proj"}}, /*seed=*/1);
  {
    const at::NoGradGuard no_grad;
    network->trained().flat().add_(0.05);
  }
  model::save_adapter(workspace_ / "adapter", *network, model.string());
  ASSERT_EQ(run(model.string(), {"--adapter", "adapter"}).code, 0);

  write_plain(workspace_ / "ids.jsonl", "{\"ids\": [5, 9, 12, 7, 30]}\n");
  const auto score = [&](std::vector<std::string> more) {
    more.insert(more.begin(), "score");
    more.insert(more.end(), {"--file", "ids.jsonl", "--ids", "--json"});
    return json_lines(sluice(workspace_, more).out).at(0).at("logprobs").get<std::vector<double>>();
  };
  const auto beside = score({"letters", "--adapter", "adapter"});
  EXPECT_THAT(score({"out"}), testing::Pointwise(testing::DoubleNear(1e-5), beside));
  EXPECT_NE(score({"letters"}), beside);
}

}  // namespace
}  // namespace sluice::app
