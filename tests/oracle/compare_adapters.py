"""LoRA adapters of PEFT in Sluice, and Sluice's in PEFT."""
import json
from pathlib import Path

import peft
import torch
from transformers.pytorch_utils import Conv1D

import golden
from sluice import SOURCE, json_lines, run, write_lines

TOLERANCE = 1e-4
RANK, ALPHA, SEED, SCALE = 4, 6, 9, 0.2

RECIPE = """
name = "adapter"
model = {{ hidden_size = 32, layers = 2, heads = 2, max_position = 64, lora = {{ rank = 4, alpha = 6, rslora = true }} }}
tokenizer = {{ train = "characters" }}
data = {{ use = "gsm8k_notes", path = "{data}/train.jsonl", test_path = "{data}/test.jsonl", generated = 512 }}

[[stages]]
use = "sft"
name = "base"
steps = 4

[[stages]]
use = "sft"
name = "adapter"
steps = 8
optim = {{ lr = 5e-2 }}
"""


def projections(model):
    """Last parts of the names of the matrices that get an adapter: attention and feed-forward, without experts and head."""
    modules = dict(model.named_modules())
    names = {name.rsplit(".", 1)[-1] for name, module in modules.items()
             if isinstance(module, (torch.nn.Linear, Conv1D)) and not name.startswith("lm_head")}
    if any(name.endswith(".experts") for name in modules):
        names -= {"gate_proj", "up_proj", "down_proj"}  # PEFT takes them for the stacked experts, in dense layers too
    return sorted(names)


def random_adapter(directory, **settings):
    """A PEFT model of the directory with A and B drawn at random: as initialised, B is 0 and changes nothing."""
    model = golden.load(directory)
    fan_in_fan_out = any(isinstance(module, Conv1D) for module in model.modules())
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.1, target_modules=projections(model), task_type="CAUSAL_LM",
                             fan_in_fan_out=fan_in_fan_out, **settings)
    adapted = peft.get_peft_model(model, config).eval()
    torch.manual_seed(SEED)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(0.0, SCALE)
    return adapted


@torch.no_grad()
def logprobs(model, ids):
    scores = golden.logits_of(model, ids)[:-1].double()
    return torch.log_softmax(scores, -1).gather(-1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()


def compare_one(report, directory, cases, work, name, **settings):
    adapter, merged = work / f"adapter_{name}", work / f"merged_{name}"
    model = random_adapter(directory, **settings)
    model.save_pretrained(adapter, save_embedding_layers=False)
    texts = [case["prompt"] + case["tokens"] for case in cases]
    wanted = [logprobs(model, ids) for ids in texts]
    base = [logprobs(golden.load(directory), ids) for ids in texts[-1:]]
    moved = max(abs(a - b) for a, b in zip(base[0], wanted[-1]))
    report.count("adapter: moves the log-probs", 1, moved < 100 * TOLERANCE, f"{directory.name}: by {moved:.3g} only")

    file = write_lines(work / "adapter_ids.jsonl", [{"ids": ids} for ids in texts])
    rows = json_lines("score", directory, "--file", file, "--ids", "--adapter", adapter, "--dtype", "float32")
    for row, numbers in zip(rows, wanted, strict=True):
        report.within("adapter of PEFT: log-probs", f"{directory.name}, {name}", row["logprobs"], numbers, TOLERANCE)

    run("export", directory, "--adapter", adapter, "--output", merged, "--dtype", "float32")
    reopened = golden.load(merged)
    for ids, numbers in zip(texts, wanted):
        report.within("adapter merged: log-probs in transformers", f"{directory.name}, {name}", logprobs(reopened, ids), numbers,
                      TOLERANCE)


def compare_written(report, work):
    """An adapter that Sluice trained and wrote, opened by PEFT on the model it names, and its merged weights."""
    recipe = work / "adapter.toml"
    recipe.write_text(RECIPE.format(data=SOURCE / "data" / "gsm8k"))
    run("run", recipe, "--runs", work / "runs")
    checkpoint = work / "runs" / "adapter" / "checkpoints" / "latest"
    adapter, merged = checkpoint / "adapter", checkpoint / "hf"
    base = Path(json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"])
    model = peft.PeftModel.from_pretrained(golden.load(base), adapter).eval()
    generator = torch.Generator().manual_seed(SEED)
    texts = [torch.randint(4, model.config.vocab_size, (length,), generator=generator).tolist() for length in (5, 17, 40)]
    wanted = [logprobs(model, ids) for ids in texts]
    moved = max(abs(x - y) for ids, numbers in zip(texts, wanted) for x, y in zip(logprobs(golden.load(base), ids), numbers))
    report.count("adapter of Sluice: moves the log-probs", 1, moved < 100 * TOLERANCE, f"by {moved:.3g} only")

    file = write_lines(work / "written_ids.jsonl", [{"ids": ids} for ids in texts])
    for where, options in (("on its base", (base, "--adapter", adapter)), ("merged", (merged,))):
        rows = json_lines("score", *options, "--file", file, "--ids", "--dtype", "float32")
        for row, numbers in zip(rows, wanted, strict=True):
            report.within(f"adapter of Sluice {where}: log-probs in PEFT", "the run", row["logprobs"], numbers, TOLERANCE)
    reopened = golden.load(merged)
    for ids, numbers in zip(texts, wanted):
        report.within("adapter of Sluice merged: in transformers", "the run", logprobs(reopened, ids), numbers, TOLERANCE)


def compare(report, directory, cases, work):
    compare_one(report, directory, cases, work, "lora")
    compare_one(report, directory, cases, work, "rslora", use_rslora=True)
