"""Reward models that Sluice trained, in transformers; and a copy that transformers wrote, in Sluice."""
import tempfile
from pathlib import Path

import torch
import transformers

import golden  # noqa: F401  one thread, offline, quiet
from sluice import Refused, SOURCE, json_lines, run, write_lines

TOLERANCE = 1e-4
SEED, LENGTHS = 9, (2, 5, 17, 40)

RECIPE = """
name = "judge"
model = {{ hidden_size = 32, layers = 2, heads = 2, max_position = 64 }}
tokenizer = {{ train = "characters" }}
data = {{ path = "{data}/digits_train.jsonl", completion_column = "chosen" }}
batch = {{ max_length = 64 }}

[[stages]]
use = "sft"
steps = 2

[[stages]]
use = "reward_model"
steps = 20
optim = {{ lr = 5e-3 }}
"""


def scores(directory, texts):
    rows = json_lines("score", directory, "--file", texts, "--ids", "--dtype", "float32")
    return [row["score"] for row in rows]


@torch.no_grad()
def compare_trained(report, work):
    recipe = work / "judge.toml"
    recipe.write_text(RECIPE.format(data=SOURCE / "data" / "preference"))
    run("run", recipe, "--runs", work / "runs")
    directory = work / "runs" / "judge" / "checkpoints" / "latest" / "reward_model"
    model, loading = transformers.AutoModelForSequenceClassification.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    unhappy = {key: sorted(names) for key, names in loading.items() if names and key.endswith("_keys")}
    report.same("reward model: transformers' complaints", "the run", unhappy, {})

    generator = torch.Generator().manual_seed(SEED)
    ids = [torch.randint(4, model.config.vocab_size, (length,), generator=generator).tolist() for length in LENGTHS]
    wanted = [model(input_ids=torch.tensor([one]), use_cache=False).logits.item() for one in ids]
    texts = write_lines(work / "ids.jsonl", [{"ids": one} for one in ids])
    report.within("reward model: scores", "the run", scores(directory, texts), wanted, TOLERANCE)

    copy = work / "copy"
    model.save_pretrained(copy)
    report.within("reward model of transformers: scores", "its copy", scores(copy, texts), wanted, TOLERANCE)


def compare(report):
    with tempfile.TemporaryDirectory() as work:
        try:
            compare_trained(report, Path(work))
        except Refused as error:
            report.refused("reward model: runs", "the run", error)
