#include "recipes/schema.h"

#include <algorithm>

#include "buffers/group_id.h"
#include "optim/optimizer.h"
#include "recipes/internal/preference.h"
#include "text/dataset.h"

namespace sluice::recipes {
namespace {

constexpr auto kBool = KeyType::Boolean;
constexpr auto kInt = KeyType::Integer;
constexpr auto kNumber = KeyType::Number;
constexpr auto kText = KeyType::Text;
constexpr auto kTextList = KeyType::TextList;
constexpr auto kPath = KeyType::Path;

SchemaKey boolean(std::string table, std::string name, bool value, std::string help) {
  return {std::move(table), std::move(name), kBool, value, {}, {}, {}, std::move(help)};
}
SchemaKey integer(std::string table, std::string name, Json value, double min, double max, std::string help) {
  return {std::move(table), std::move(name), kInt, std::move(value), min, max, {}, std::move(help)};
}
SchemaKey number(std::string table, std::string name, Json value, double min, double max, std::string help) {
  if (value.is_number()) value = value.get<double>();
  return {std::move(table), std::move(name), kNumber, std::move(value), min, max, {}, std::move(help)};
}
SchemaKey text(std::string table, std::string name, Json value, std::vector<std::string> choices,
               std::string help) {
  return {std::move(table),   std::move(name), kText, std::move(value), {}, {},
          std::move(choices), std::move(help)};
}
SchemaKey text_list(std::string table, std::string name, std::string help) {
  return {std::move(table), std::move(name), kTextList, Json::array(), {}, {}, {}, std::move(help)};
}
SchemaKey path(std::string table, std::string name, std::string help) {
  return {std::move(table), std::move(name), kPath, nullptr, {}, {}, {}, std::move(help)};
}

// A key that means nothing unless another one of its table has one of these values.
SchemaKey with(std::string other, std::vector<std::string> values, SchemaKey key) {
  key.only_with.push_back({std::move(other), std::move(values)});
  return key;
}
// The other way round.
SchemaKey without(std::string other, std::vector<std::string> values, SchemaKey key) {
  key.only_with.push_back({std::move(other), std::move(values), /*none_of=*/true});
  return key;
}

// The dataset readers that read a file.
std::vector<std::string> file_readers() {
  std::vector<std::string> names = text::dataset_readers();
  std::erase_if(names, [](const auto& name) { return !text::reads_a_file(name); });
  return names;
}

// A key that means nothing while another one of its table, a number, is 0.
SchemaKey above_zero(std::string other, SchemaKey key) { return with(std::move(other), {}, std::move(key)); }

// A key of a table that stages of other roles have too.
SchemaKey of(std::vector<StageRole> roles, SchemaKey key) {
  key.roles = std::move(roles);
  return key;
}
SchemaKey of_policies(SchemaKey key) { return of({StageRole::Policy}, std::move(key)); }
SchemaKey of_supervised(SchemaKey key) { return of({StageRole::Supervised}, std::move(key)); }
// Those that learn from rows of data.
SchemaKey of_examples(SchemaKey key) {
  return of({StageRole::Supervised, StageRole::Preference, StageRole::RewardModel}, std::move(key));
}
// Of a loss of pairs.
SchemaKey of_pairs(SchemaKey key) { return without("loss", {"kto", "apo_zero_unpaired"}, std::move(key)); }

std::vector<SchemaKey> make_schema() {
  return {
      text("", "name", nullptr, {}, "Name of the run; default: the recipe's file name."),
      integer("", "seed", 0, 0, 9e15, "Seed of everything that is random."),
      text("", "device", "cpu", {"cpu", "cuda"}, "Where the tensors live."),
      boolean("", "deterministic", true,
              "Same seed, same weights: batches go by ordinal and a lease names its exact policy version."),

      path("model", "path",
           "A Hugging Face model directory to start from; without it a network is made from scratch."),
      text("model", "source", nullptr, {},
           "Where `path` is downloaded from, \"Qwen/Qwen2.5-0.5B-Instruct\" of Hugging Face: said when it is "
           "not "
           "there."),
      integer("model", "hidden_size", 128, 8, 65536, "From scratch: width of the hidden states."),
      integer("model", "layers", 4, 1, 1024, "From scratch: number of blocks."),
      integer("model", "heads", 4, 1, 1024, "From scratch: attention heads."),
      integer("model", "kv_heads", nullptr, 1, 1024,
              "From scratch: key and value heads; default: as many as heads."),
      integer("model", "intermediate_size", 344, 8, 1 << 20,
              "From scratch: width of the gated feed-forward."),
      integer("model", "max_position", 512, 8, 1 << 24, "From scratch: longest sequence, in tokens."),
      number("model", "rope_theta", 10000, 1, 1e12, "From scratch: base of the rotary frequencies."),
      boolean("model", "tie_embeddings", false, "From scratch: the output head is the embedding."),
      text(
          "model", "products", "float32", {"float32", "bfloat16", "bfloat16_both", "float16_both"},
          "bfloat16: every role multiplies with weights rounded to bfloat16, half as many bytes to read; "
          "bfloat16_both: with rows and gradients rounded to it too, of which training keeps half the bytes, "
          "the arithmetic of a run in bfloat16. Sums, norms, softmax, the residual stream and the loss stay "
          "float32, and so does what is trained and saved; on the CPU actor and learner still agree to the "
          "last bit. float16_both: the same in float16, which keeps three more bits of a number and much "
          "less of its range: the loss is scaled (`loss_scale`), and an update whose gradient is too large "
          "for it is skipped and counted (`overflow_skips`). A GPU is fast with either, and has attention's "
          "scores of that type too. `sluice bench decode --dtype float32,bfloat16` says what the first is "
          "worth on a machine."),
      number("model", "router_aux_loss", 0, 0, 100,
             "Weight in the loss of the balance of a softmax router's experts, a number that is 1 when all "
             "are used alike and the number of experts over those a token takes when the same ones always "
             "are; 0.001 to 0.01 where expert load drifts. Computed for each micro-batch, so it changes a "
             "little with batch.micro_batch_tokens; `aux_loss` in the metrics is before this weight."),

      integer("model.lora", "rank", 8, 1, 4096, "Rows of A, columns of B; more can learn more."),
      number("model.lora", "alpha", 16, 1e-3, 1e5, "B A x is scaled by alpha / rank."),
      boolean("model.lora", "rslora", false, "Scale by alpha / sqrt(rank) instead, for ranks above 32."),
      text_list(
          "model.lora", "targets",
          "Matrices that get an adapter, by the end of their names, \"q_proj\"; empty: all of attention "
          "and feed-forward, or of attention alone in a network with experts."),

      path("tokenizer", "path",
           "A tokenizer.model file or a directory with one; default: the model directory's."),
      text("tokenizer", "train", nullptr, {"characters", "bpe", "unigram"},
           "Train one on the training part of the first stage's data: a piece for each character, or the "
           "pieces of words that `bpe` or `unigram` learns."),
      integer("tokenizer", "vocab_size", nullptr, 512, 32000,
              "bpe, unigram: ids of the trained tokenizer; default: 8000."),
      text_list("tokenizer", "special_tokens", "bpe, unigram: further special tokens, such as \"<turn>\"."),

      text("monitor", "redis", "private", {},
           "\"private\": a redis-server of the run's own on a unix socket; \"off\"; or redis://host:port, "
           "unix:///path."),
      boolean(
          "monitor", "control", false,
          "The run takes commands from Redis: pause, resume, checkpoint, stop. Who may write there decides "
          "over the run."),
      boolean("monitor", "tensorboard", true,
              "Event files in the run directory, for `tensorboard --logdir`."),
      boolean("monitor", "web", true, "The page of the run, its JSON and its metrics for Prometheus."),
      text("monitor", "bind", "127.0.0.1", {},
           "The address the page is served at. Any but a loopback one asks for the token in the environment "
           "variable SLUICE_WEB_TOKEN, or for one that the run makes and prints."),
      integer("monitor", "port", 0, 0, 65535, "Its port; 0: any that is free."),

      text("stage", "use", nullptr, {}, "The kind of stage."),
      text("stage", "name", nullptr, {}, "Unique name of the stage; default: its kind."),
      integer("stage", "steps", nullptr, 1, 1e9,
              "Steps, each over one batch; needed by every stage that trains."),

      text("data", "use", "jsonl", text::dataset_readers(), "The dataset reader."),
      with("use", file_readers(), path("data", "path", "The file to train on.")),
      SchemaKey{
          "data",
          "mixture",
          KeyType::Mixture,
          Json::array(),
          {},
          {},
          {},
          "sft: several files in place of `path`, `[{ path = \"a.jsonl\", weight = 2 }, ...]`, drawn by "
          "weight."},
      text("data", "from", nullptr, {},
           "In place of a file: a stage before this one, of which it takes the samples kept."),
      with("use", file_readers(),
           path("data", "test_path",
                "The held-out file; the text reader holds out a part of `path` instead.")),
      with("use", {"jsonl"},
           text("data", "prompt_column", "prompt", {}, "jsonl: the column with the prompt.")),
      with("use", {"jsonl"},
           text("data", "completion_column", "completion", {},
                "jsonl: the column supervised training learns from.")),
      with("use", {"text"},
           number("data", "train_fraction", 0.9, 0.01, 0.99,
                  "text: share of the characters that is for training.")),
      with("use", {"text"}, integer("data", "prompt_chars", 24, 1, 1 << 20, "text: characters of a prompt.")),
      with("use", {"text"},
           integer("data", "window_chars", 256, 2, 1 << 20, "text: characters of a supervised example.")),
      with("use", {"gsm8k_notes"},
           boolean("data", "keep_seen", false,
                   "gsm8k_notes: keep training expressions that occur in the test file.")),
      with("use", {"gsm8k_notes"},
           number("data", "calls", 0, 0, 1,
                  "gsm8k_notes: share of the examples that call the calculator for the answer; above 0 all "
                  "end in a line such as \"A: 24\".")),
      with("use", {"gsm8k_notes", "countdown"},
           integer("data", "generated", 0, 0, 1e7,
                   "gsm8k_notes: further expressions made from the training file's operands and operators; "
                   "countdown: training tasks.")),

      number("data", "min_pass_rate", nullptr, 0, 1,
             "Training rows below are left out: the share of right answers to a prompt."),
      number("data", "max_pass_rate", nullptr, 0, 1, "Likewise, above: what is too easy."),
      text("data", "pass_rate_column", "pass_rate", {}, "The column with that share."),
      integer("data", "max_prompt_chars", 0, 0, 1 << 30,
              "Training rows whose prompt has more characters are left out; 0: none is."),
      text("data", "order_by", nullptr, {},
           "A column of numbers: the first epoch goes from small to large, later ones are shuffled as "
           "without it."),

      of_policies(integer("rollout", "actors", 2, 1, 256, "Actor processes.")),
      of_policies(integer("rollout", "prompts_per_step", 16, 1, 1 << 20, "Prompts of one optimizer step.")),
      of({StageRole::Policy, StageRole::Sampling},
         integer("rollout", "group_size", 8, 1, 1024, "Completions of each prompt.")),
      integer("rollout", "max_new_tokens", 256, 1, 1 << 20, "Longest completion, in tokens."),
      number("rollout", "temperature", 1.0, 0.01, 100,
             "Sampling temperature; the learner divides by it too."),
      integer("rollout", "top_k", 0, 0, 1 << 24, "Sample among the k likeliest tokens; 0: off."),
      number("rollout", "top_p", 1.0, 1e-6, 1.0, "Sample among the likeliest tokens of this mass; 1: off."),
      number("rollout", "min_p", 0.0, 0, 1,
             "Sample among the tokens with this share of the likeliest one's probability; 0: off."),
      text_list("rollout", "stop",
                "Texts that end a completion, such as \"</answer>\"; rewards see what stands before them."),
      integer("rollout", "tool_calls", 8, 1, 1024,
              "With `tools`: calls of a completion that are answered; further ones are told so."),
      integer("rollout", "tool_tokens", 256, 1, 1 << 20,
              "With `tools`: tokens of what a tool says that a completion gets; they count towards "
              "max_new_tokens."),
      of_policies(
          text("rollout", "weights", "exact", {"exact", "int8"},
               "What actors compute with; int8 rounds their matrices to 8 bits, a scale for each column: "
               "faster where reading weights takes the time. The importance ratio is taken against what the "
               "rounded policy said, and `logprob_diff/*` and `mismatch_kl` say how far it is from the exact "
               "one.")),
      of_policies(text(
          "rollout", "draft", "off", {"off", "prompt", "model"},
          "Tokens proposed for the policy to check several at once, where the clock says that it "
          "pays: what followed the same words before, or what rollout.draft_model says. Completions are the "
          "same as without.")),
      of_policies(path("rollout", "draft_model",
                       "A smaller model directory with the same tokenizer, for draft = \"model\".")),
      of_policies(boolean(
          "rollout", "mix_versions", false,
          "With deterministic = false: a completion under way goes on with newer weights as soon as "
          "they are there; what it has stays, and each token keeps its version and log-prob. A group is as "
          "old as its oldest token.")),
      of_policies(
          number("rollout", "replay", 0.0, 0, 1,
                 "Share of a step's prompts that may be hard ones asked again; they come one step after "
                 "the staleness. 0: none.")),
      of_policies(above_zero(
          "replay",
          number("rollout", "replay_below", 0.5, -1e9, 1e9,
                 "A prompt is hard whose group has a mean reward below this and somewhere one above 0."))),
      of_policies(integer("rollout", "staleness", 1, 0, 64,
                          "Optimizer steps a completion may be behind; 0 waits for every update.")),
      of_policies(
          integer("rollout", "lease_ms", 10000, 100, 86400000,
                  "Milliseconds without a sign of life after which an actor's groups are given to another.")),
      of_policies(integer(
          "rollout", "journal_mb", 1024, 1, 1 << 20,
          "Megabytes by which the journal of the groups may grow before a checkpoint is written early, upon "
          "which older groups go from it: it takes twice (checkpoint.keep_last + 1) times as much at most.")),
      of_policies(integer(
          "rollout", "min_scored", nullptr, 1, 1024,
          "A group with fewer scored completions is quarantined; default: 2, or 1 for groups of one.")),
      of_policies(integer(
          "rollout", "refills", 0, 0, buffers::kMaxRefills,
          "Prompts tried in place of one whose group has equal rewards throughout and is dropped, since "
          "nothing can be learned from it (DAPO's dynamic sampling): so many for each place in the batch; "
          "0: such groups are kept.")),
      above_zero("refills",
                 of_policies(text(
                     "rollout", "refill_fallback", "keep", {"keep", "shrink", "stop"},
                     "When they all were in vain: keep the last group, make the batch shorter, or stop the "
                     "run with the reason."))),
      of_policies(text("rollout", "address", nullptr, {},
                       "tcp://127.0.0.1:PORT; default: an ipc socket in the run directory.")),

      of_examples(integer("batch", "examples_per_step", 32, 1, 1 << 24, "Examples of one optimizer step.")),
      integer("batch", "micro_batch_tokens", 16384, 16, 1 << 24, "Rows of one forward and backward pass."),
      boolean("batch", "gradient_checkpointing", false,
              "Keep the input of each block alone for the backward, which computes the block again: the same "
              "gradients with far less memory, for about a third more arithmetic."),
      of_examples(integer("batch", "max_length", 1024, 2, 1 << 24, "Longer examples lose their end.")),
      of_examples(boolean("batch", "append_eos", true,
                          "The end of sequence is learned too; a conversation ends as its template says.")),
      of_supervised(text("batch", "loss", "nll", {"nll", "dft"},
                         "What a token costs; dft weighs it by its own probability.")),
      of_supervised(number(
          "batch", "neftune_alpha", 0.0, 0, 1000,
          "Noise on embeddings of up to so much over the root of an example's numbers (NEFTune; 5 to 15 "
          "are usual); 0: none.")),
      of_supervised(SchemaKey{
          "batch",
          "tag_weights",
          KeyType::NumberTable,
          Json::object(),
          0.0,
          1000.0,
          {},
          "`{ answer = 2.0 }` weighs learned tokens between <answer> and </answer>, tags included; 0: "
          "they are not learned."}),

      integer("learner", "ranks", 1, 1, 1024,
              "Processes that train the stage together, each on its share of every step: 2 on a machine of "
              "two sockets, or as many as there are GPUs. A resumed run may have another number."),
      integer(
          "learner", "threads", nullptr, 1, 1024,
          "Threads that each rank computes with on the CPU; the weights at the end are the same with any "
          "number. Default: all cores, shared out among the ranks. Actors, a thread each, decode on the same "
          "cores: a thread that is kept from running leaves its share to the others. Fewer, the cores less "
          "rollout.actors, leave the actors undisturbed where they are what a step waits for."),
      of({StageRole::Preference, StageRole::Policy},
         boolean("learner", "offload_reference", false,
                 "The reference's weights stay on disk, or with device = \"cuda\" in the host's memory; a "
                 "block of them is brought just before it computes and let go behind it. The same numbers. "
                 "With model.lora there is nothing to bring: policy and reference share their weights.")),
      number("learner", "rank_timeout_s", 50, 0.1, 86400,
             "Seconds that a rank waits for the others within a step; then the run ends with the name of the "
             "one that did not come."),

      text("optim", "kind", "adamw", optim::optimizer_kinds(),
           "The update rule; muon moves hidden matrices by their orthogonalised momentum and leaves the rest "
           "to "
           "AdamW."),
      number("optim", "lr", 1e-6, 0, 10, "Learning rate after warm-up."),
      text("optim", "schedule", "constant", optim::schedule_kinds(),
           "How the learning rate moves after warm-up."),
      integer("optim", "warmup_steps", 0, 0, 1e9, "Steps over which the learning rate rises."),
      with("schedule", {"cosine", "wsd"},
           number("optim", "min_ratio", 0.1, 0, 1, "Share of lr at the end; wsd: at the beginning too.")),
      with("schedule", {"wsd"},
           integer("optim", "stable_steps", nullptr, 0, 1e9,
                   "Steps at lr after warm-up; default: what decay_steps leave, or nine tenths.")),
      with("schedule", {"wsd"},
           integer("optim", "decay_steps", nullptr, 0, 1e9,
                   "Steps of the fall behind them; default: what stable_steps leave, or a tenth.")),
      with("schedule", {"wsd"},
           text("optim", "decay_shape", "cosine", optim::decay_shapes(), "Shape of that fall.")),
      without("kind", {"sgd"}, number("optim", "beta1", 0.9, 0, 0.99999, "Decay of AdamW's first moment.")),
      without("kind", {"sgd"},
              number("optim", "beta2", 0.999, 0, 0.999999, "Decay of AdamW's second moment.")),
      without("kind", {"sgd"},
              number("optim", "eps", 1e-8, 0, 1, "Added to the root of AdamW's second moment.")),
      with("kind", {"muon", "sgd"}, number("optim", "momentum", 0.95, 0, 0.99999, "Decay of the momentum.")),
      with("kind", {"muon", "sgd"}, boolean("optim", "nesterov", true, "Look ahead along the momentum.")),
      with("kind", {"muon"},
           integer("optim", "ns_steps", 5, 1, 100, "Iterations of Newton and Schulz in each update.")),
      with("kind", {"muon"},
           text("optim", "adjust", "match_rms_adamw", optim::muon_adjustments(),
                "Scale of a matrix's update: as large as AdamW's, or Jordan's.")),
      with("kind", {"muon"}, number("optim", "adamw_lr_factor", 1.0, 0, 1e6, "On lr, of what AdamW moves.")),
      number("optim", "weight_decay", 0.01, 0, 10, "Decoupled weight decay; spares norms and embeddings."),
      boolean("optim", "decay_all", false, "Decay norms and embeddings too."),
      without("kind", {"muon"},
              text("optim", "shard", "none", optim::shard_kinds(),
                   "What each of several ranks has a part of alone: `moments`, of the weights that it moves "
                   "(ZeRO-1), which are gathered once a step; `weights`, their gradients and moments "
                   "(ZeRO-3), for two gathers and a sum of each block in a micro-batch and the arithmetic of "
                   "batch.gradient_checkpointing.")),
      number("optim", "max_grad_norm", 1.0, 1e-9, 1e9, "The gradient is scaled down to this L2 norm."),
      number("optim", "spike_ratio", 0.0, 0, 1e6,
             "An update whose gradient norm is so many times the usual one is skipped and counted in "
             "`spike_skips`; 0: none is."),
      above_zero("spike_ratio",
                 integer("optim", "spike_window", 50, 2, 1e6, "Updates that the usual norm is a mean of.")),

      text("algorithm", "loss", "clip", {"clip", "cispo", "sapo", "reinforce", "gmpo", "vespo", "dppo"},
           "What a token's loss is: the clipped ratio times its advantage, or a variant of it."),
      with("loss", {"clip"},
           text("algorithm", "ratio", "token", {"token", "sequence", "sequence-token", "sequence-sum"},
                "What is clipped: each token's ratio; the geometric mean of the completion's (GSPO), or that "
                "with each token's own gradient; or their product (RLOO).")),
      with("loss", {"clip", "dppo"},
           number("algorithm", "clip_low", 0.2, 0, 1,
                  "The ratio is clipped below 1 - clip_low; dppo: so much may a probability fall.")),
      with("loss", {"clip", "dppo"},
           number("algorithm", "clip_high", 0.2, 0, 1e6,
                  "The ratio is clipped above 1 + clip_high; dppo: so much may a probability rise.")),
      with("loss", {"clip"},
           number("algorithm", "dual_clip", 0.0, 0, 1e6,
                  "c > 1: the loss of a token of negative advantage counts its ratio as c at most; 0: no "
                  "bound.")),
      with("loss", {"cispo"},
           number("algorithm", "weight_low", 0.0, 0, 1e6, "Least weight of a token's gradient.")),
      with("loss", {"cispo"},
           number("algorithm", "weight_high", 5.0, 0, 1e6,
                  "Most weight of a token's gradient, a ratio and not a distance from 1.")),
      with("loss", {"sapo"},
           number("algorithm", "tau_positive", 1.0, 1e-6, 1e6, "Steepness of the gate of good tokens.")),
      with("loss", {"sapo"},
           number("algorithm", "tau_negative", 1.05, 1e-6, 1e6, "Steepness of the gate of bad tokens.")),
      with("loss", {"gmpo"},
           number("algorithm", "log_clip", 0.4, 1e-9, 20,
                  "The log of a token's ratio counts as so much at most, on the side its advantage pulls.")),
      with("loss", {"dppo"},
           number("algorithm", "trust_kl", 1e-3, 0, 1e6, "Weight of the square of the log-ratio.")),
      text("algorithm", "aggregation", "seq-mean-token-mean",
           {"token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm"},
           "How token losses become one number."),
      without("aggregation", {"token-mean"},
              text("algorithm", "seq_denominator", "all", {"all", "nonempty"},
                   "Sequences that a seq-mean counts: all, or those with a token to learn from.")),

      number("algorithm", "beta", 0.0, 0, 100, "Weight of the KL to the reference; 0: no reference."),
      text("algorithm", "kl_in", "loss", {"loss", "reward"},
           "Where that KL goes: into the loss, or off the rewards before advantages, as k1."),
      with("kl_in", {"loss"},
           above_zero("beta", text("algorithm", "kl", "low_var_kl",
                                   {"k1", "k2", "k3", "low_var_kl", "abs", "k1+", "k3+", "k3_is"},
                                   "Estimator of that KL; k1+ and k3+ have the gradient of k2, k3_is is "
                                   "weighted by the ratio."))),
      integer(
          "algorithm", "mix_every", 0, 0, 1e9,
          "Steps after which the policy is mixed into the reference; 0: the reference stays what the stage "
          "began with."),
      above_zero(
          "mix_every",
          number("algorithm", "mix_alpha", 1.0, 0, 1,
                 "The policy's share then: 1 makes it the reference, less a moving mean of policies.")),
      number("algorithm", "kl_target", 0.0, 0, 1e6,
             "beta follows this KL, the mean over completions of their mean: up to a fifth of `completions / "
             "kl_horizon` up or down in a step (Ziegler 2019; 0.1 is usual); 0: it stays."),
      above_zero("kl_target", number("algorithm", "kl_horizon", 10000, 1, 1e12, "Completions of that.")),
      number("algorithm", "entropy_bonus", 0.0, 0, 10,
             "Times the mean entropy of the tokens, taken off the loss."),
      number(
          "algorithm", "entropy_target", 0.0, 0, 1e3,
          "entropy_bonus rises by entropy_delta in a step whose entropy is at most this, else it falls, and "
          "only holds behind such a step (Skywork-OR1; 0.2 there); 0: it stays."),
      above_zero("entropy_target",
                 number("algorithm", "entropy_delta", 0.005, 0, 1, "Of that; between 0 and 1 it stops.")),

      text(
          "algorithm", "baseline", "group",
          {"group", "leave-one-out", "length", "greedy", "critic", "history", "none"},
          "What a reward is measured against: the mean of its group, of the others in it, their mean by "
          "length (OPO); the reward of one completion more, decoded greedily (ReMax); what a critic expects "
          "at each token (PPO); what its prompt earned before (SPO); or nothing: then a token's advantage is "
          "its return."),
      with("baseline", {"history"},
           number("algorithm", "value_memory", 0.875, 0, 0.999999,
                  "What earlier rewards of a prompt count each time that it comes again.")),
      with("baseline", {"group"},
           text("algorithm", "advantage_scale", "group", {"group", "batch", "none"},
                "Whose standard deviation divides the centred rewards.")),
      with("baseline", {"group"},
           with("advantage_scale", {"group", "batch"},
                boolean("algorithm", "population_std", false,
                        "Divide by n instead of n - 1 in that deviation."))),
      with("baseline", {"group"},
           with("advantage_scale", {"group", "batch"},
                number("algorithm", "advantage_eps", 1e-4, 0, 1, "Added to that deviation."))),
      with("baseline", {"group"},
           boolean("algorithm", "each_reward", false,
                   "Standardise the scores of each reward in the group, then add them up (GDPO).")),
      with("baseline", {"none", "critic"},
           number("algorithm", "gamma", 1.0, 1e-3, 1, "Discount of a reward for each token before it.")),
      with("baseline", {"critic"},
           number("algorithm", "lambda", 0.95, 0, 1,
                  "Generalised advantage estimation: 1 counts what was earned, 0 what the critic expects "
                  "after one token.")),
      with("baseline", {"critic"},
           number("algorithm", "value_clip", 0.2, 1e-6, 1e6,
                  "Values count as at most so far from those before the step.")),
      with("baseline", {"critic"},
           number("algorithm", "critic_lr", nullptr, 0, 10,
                  "The critic's learning rate; all else of its update is [optim]'s. Default: ten times "
                  "optim.lr.")),
      with("baseline", {"critic"},
           integer("algorithm", "critic_warmup", 0, 0, 1e9,
                   "Steps at the beginning in which the critic alone learns: one that knows nothing yet "
                   "misleads the policy where lambda is below 1.")),
      with("baseline", {"critic"},
           boolean("algorithm", "bootstrap_truncated", false,
                   "A completion that max_new_tokens cut would have gone on to earn what the critic expects "
                   "behind its last token, not nothing.")),
      text("algorithm", "whitening", "none", {"none", "completions", "tokens"},
           "All advantages of a step to mean 0 and variance 1, over completions or over their tokens."),
      number("algorithm", "advantage_clip", 0.0, 0, 1e6, "c > 0: advantages lie in -c .. c."),
      boolean("algorithm", "mask_truncated", false,
              "Learn from no token of a completion that max_new_tokens cut; its reward counts all the same."),

      text("algorithm", "old_policy", "behaviour", {"behaviour", "proximal", "between"},
           "What the ratio is taken against: the policy that sampled; the one before the step, corrected for "
           "what lies between the two; or a guess of that one by versions, without a forward."),
      with("old_policy", {"proximal", "between"},
           text("algorithm", "correction", "tis", {"none", "tis", "tis-sequence", "icepop", "sequence-mask"},
                "That correction, a factor of the loss: the ratio of the two bounded, of tokens or of the "
                "whole completion; or nothing outside the bounds.")),
      with("old_policy", {"proximal", "between"},
           without("correction", {"none"},
                   number("algorithm", "correction_low", 0.0, 0, 1, "Its lower bound."))),
      with("old_policy", {"proximal", "between"},
           without("correction", {"none"},
                   number("algorithm", "correction_high", 2.0, 1, 1e6, "Its upper bound."))),
      with("old_policy", {"proximal", "between"},
           number("algorithm", "mean_ratio_low", 0.0, 0, 1,
                  "Completions whose mean ratio of a token is below count for nothing; 0: off.")),
      with("old_policy", {"proximal", "between"},
           number("algorithm", "mean_ratio_high", 0.0, 0, 1e6, "Likewise, above; 0: off.")),
      number(
          "algorithm", "max_sequence_kl", 0.0, 0, 1e6,
          "Bad completions that the policy left by more nats a token count for nothing (DeepSeek-V3.2 uses "
          "about 0.5); 0: off."),
      number("algorithm", "moment_threshold", 0.0, 0, 1e6,
             "The tokens with the largest drift are left out until its mean square is below this (M2PO); 0: "
             "off."),
      number("algorithm", "entropy_share", 1.0, 1e-6, 1,
             "Learn from this share of the tokens, those of the highest entropy; 1: from all."),
      integer("algorithm", "epochs", 1, 1, 1000, "Times that a batch is gone through."),
      integer("algorithm", "minibatches", 1, 1, 1 << 20,
              "Updates in each of them, over as many parts of the batch's prompts."),

      path("teacher", "path", "The model directory that is learned from; its tokenizer is the student's."),
      number("teacher", "temperature", 1.0, 0.01, 100,
             "Both distributions are taken at it; the KL counts its square times."),
      text("teacher", "kl", "forward", {"forward", "reverse"},
           "forward: of the teacher to the student, which covers all that the teacher says; reverse: of the "
           "student to the teacher, which keeps to what it says most."),
      number("teacher", "nll_weight", 0.0, 0, 1e3, "Weight of the loss on the data's own tokens beside it."),

      integer("samples", "prompts", 0, 0, 1e9, "Training prompts that are asked, each once; 0: all."),
      number("samples", "min_reward", 1.0, -1e9, 1e9, "A completion with this reward or more is right."),
      integer("samples", "per_prompt", 4, 1, 1 << 20, "Rows kept of each prompt, those of the best rewards."),
      boolean("samples", "pairs", false,
              "Keep pairs of a right and a wrong completion, for a stage that learns from preferences."),

      number(
          "guard", "max_kl", 0.0, 0, 1e6,
          "Three steps in a row whose `kl` is above end the run with a checkpoint and exit code 5; 0: none "
          "do."),
      number(
          "guard", "target_kl", 0.0, 0, 1e6,
          "The rest of a step's updates is left when the policy is 1.5 times as far (`approx_kl`) from the "
          "one that the ratio is taken against; 0: never."),
      path("guard", "canaries",
           "JSON lines of prompt, completion and `scores`, what each reward is known to say of it: they are "
           "scored "
           "again and again, and a score that moves is said."),
      integer("guard", "canaries_every", 50, 1, 100000,
              "One group of so many has the canaries scored beside it."),

      text_list("health", "off", "Rules of docs/monitoring.md that raise no alarm here."),
      text_list("health", "stop_on",
                "Rules whose alarm ends the run with a checkpoint and exit code 5, [\"no_reward\"]; the "
                "others only say what they see."),

      text("preference", "loss", "sigmoid", internal::preference_losses(), "What a step minimises."),
      number("preference", "beta", nullptr, 1e-6, 1e3, "Strength of the reference; default: the loss's own."),
      of_pairs(number("preference", "label_smoothing", nullptr, 0, 0.499,
                      "Share of pairs that may be the wrong way round; default: the loss's own.")),
      with("loss", {"simpo", "alphapo"},
           number("preference", "gamma", nullptr, -100, 100,
                  "Margin wanted between the two; default: the loss's own.")),
      with("loss", {"alphapo"},
           number("preference", "alpha", nullptr, -10, 10, "Shape of the reward; default: the loss's own.")),
      with("loss", {"discopop"},
           number("preference", "tau", nullptr, 1e-6, 1, "Temperature of the mix; default: the loss's own.")),
      of_pairs(
          number("preference", "sft_weight", nullptr, 0, 1e3,
                 "Weight of the chosen completions' loss beside it; default: the loss's own, mostly none.")),
      of_pairs(boolean("preference", "nll_over_prompt", false, "That loss is over the prompts' tokens too.")),
      of_pairs(text("preference", "divergence", "reverse-kl", {"reverse-kl", "forward-kl", "js", "alpha"},
                    "What keeps the policy near the reference.")),
      with("divergence", {"alpha"},
           of_pairs(number("preference", "divergence_alpha", 0.5, -10, 10, "Its alpha."))),
      of_pairs(number("preference", "ld_alpha", 1.0, 0, 1,
                      "What tokens beyond the shorter completion count (LD-DPO); 1: as much as the others.")),
      of_pairs(boolean("preference", "wpo", false, "Weigh pairs by how likely the policy finds them.")),
      with("loss", {"kto", "apo_zero_unpaired"},
           number("preference", "desirable_weight", 1.0, 0, 1e3, "Of completions that were judged good.")),
      with("loss", {"kto", "apo_zero_unpaired"},
           number("preference", "undesirable_weight", 1.0, 0, 1e3, "Of those that were judged bad.")),
      integer("preference", "mix_every", 0, 0, 1e9,
              "Steps after which the policy is mixed into the reference (TR-DPO); 0: never."),
      above_zero("mix_every", number("preference", "mix_alpha", 0.6, 0, 1, "The policy's share then.")),
      of_pairs(integer(
          "preference", "held_out", 0, 0, 1e9,
          "Pairs put aside, which are measured at the end and every evaluation.every steps: eval_rewards/"
          "margins and the like.")),
      text("preference", "truncation", "keep-start", {"keep-start", "keep-end"},
           "What a prompt that is too long with its completion loses last."),

      number("reward_loss", "center_coefficient", 0.0, 0, 10,
             "Times (score of chosen + score of rejected)^2 in the loss, which keeps scores about 0; 0.01 is "
             "usual."),

      of({StageRole::Supervised, StageRole::Policy, StageRole::Evaluation},
         integer("evaluation", "prompts", 256, 0, 1e9,
                 "Held-out prompts or examples, the first ones; 0: all.")),
      of({StageRole::Supervised, StageRole::Preference, StageRole::Policy},
         integer(
             "evaluation", "every", 0, 0, 1e9,
             "Supervised: steps between measurements of the held-out examples' loss, `eval_loss` in nats "
             "a token, "
             "beside one at the end; 0: none. Preferences: steps between those of preference.held_out. "
             "Rollouts: steps between greedy answers to the held-out prompts, `eval_reward`, `eval_exact` "
             "and the like.")),
      of({StageRole::Evaluation},
         integer("evaluation", "samples", 1, 1, 1024, "Sampled completions of each.")),
      of({StageRole::Evaluation}, boolean("evaluation", "greedy", false, "Also decode greedily.")),
      of({StageRole::Evaluation},
         integer("evaluation", "show", 4, 0, 100, "Prompts whose completions are shown at the end.")),

      integer("checkpoint", "every", 10, 1, 1e9, "Steps between checkpoints."),
      integer("checkpoint", "keep_last", 2, 1, 1e6,
              "Checkpoints kept of those between; the end of a stage is always kept."),
      integer("checkpoint", "keep_every", 0, 0, 1e9,
              "Checkpoints of steps that it divides are kept besides; 0: none. A multiple of `every`."),
      text("checkpoint", "best_by", nullptr, {},
           "The best one by this metric, its mean since the checkpoint before, is kept besides, and the link "
           "checkpoints/best names it: \"reward\" for the highest, \"-eval_loss\" for the lowest."),
  };
}

}  // namespace

const std::vector<SchemaKey>& schema() {
  static const std::vector<SchemaKey> keys = make_schema();
  return keys;
}

const std::vector<SchemaTable>& schema_tables() {
  constexpr auto kSupervised = StageRole::Supervised, kPolicy = StageRole::Policy,
                 kPreference = StageRole::Preference, kReward = StageRole::RewardModel,
                 kSampling = StageRole::Sampling, kEvaluation = StageRole::Evaluation;
  static const std::vector<SchemaTable> tables = {
      {"model", {}, "The network."},
      {"model.lora",
       {},
       "With this table, `model = { lora = { rank = 8 } }`, the weights are frozen and adapters of low rank "
       "beside them are trained, in every stage new ones; what a stage ends in is merged. They want about "
       "ten times the learning rate of the weights."},
      {"tokenizer", {}, "Text to token ids."},
      {"monitor", {}, "Where the run can be watched."},
      {"data", {kSupervised, kPreference, kReward, kPolicy, kSampling, kEvaluation}, "The dataset."},
      {"rollout", {kPolicy, kSampling, kEvaluation}, "How completions are generated."},
      {"batch", {kSupervised, kPreference, kReward, kPolicy}, "How a step is put together."},
      {"learner", {kSupervised, kPreference, kReward, kPolicy}, "Who computes the update."},
      {"optim", {kSupervised, kPreference, kReward, kPolicy}, "The update."},
      {"teacher", {kSupervised}, "Whom a `distill` stage learns from, and how.", "distill"},
      {"samples", {kSampling}, "What a `rejection_sampling` stage keeps of its completions."},
      {"preference", {kPreference}, "What is learned from pairs, or from judged completions."},
      {"reward_loss",
       {kReward},
       "Beside the Bradley-Terry loss of pairs; a row's `margin`, where it has one, is by how much "
       "its chosen completion is to be ahead."},
      {"algorithm", {kPolicy}, "Advantages and the policy loss."},
      {"guard", {kPolicy}, "What ends a step or a run that goes too far, and what watches the rewards."},
      {"health", {kSupervised, kPreference, kReward, kPolicy}, "What is said of a run that falls ill."},
      {"evaluation", {kSupervised, kPreference, kPolicy, kEvaluation}, "What is measured."},
      {"checkpoint", {kSupervised, kPreference, kReward, kPolicy}, "What is kept on disk."},
  };
  return tables;
}

const SchemaKey* find_key(std::string_view table, std::string_view name) {
  const auto& keys = schema();
  const auto found = std::find_if(
      keys.begin(), keys.end(), [&](const SchemaKey& key) { return key.table == table && key.name == name; });
  return found == keys.end() ? nullptr : &*found;
}

}  // namespace sluice::recipes
