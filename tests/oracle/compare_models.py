"""Model directories in Sluice and in transformers: tokens, log-probs, saved directories.

  compare_models.py [DIR...]   each a model directory with golden.json; without any, all of data/goldens
"""
import json
import sys
import tempfile
from pathlib import Path

import torch
import transformers

import compare_adapters
import golden
from sluice import GOLDENS, Refused, Report, finish, json_lines, run, write_lines

FLOAT32_TOLERANCE, BFLOAT16_TOLERANCE, SAFE_MARGIN = 1e-4, 2e-2, 0.05
DTYPES = {"float32": FLOAT32_TOLERANCE, "bfloat16": BFLOAT16_TOLERANCE}


def rounds(directory):
    """Whether holding the weights in bfloat16 changes them; the golden's numbers are those of the unrounded ones."""
    return any(tensor.dtype != torch.bfloat16 and not torch.equal(tensor.float(), tensor.bfloat16().float())
               for tensor in golden.dequantised(golden.read_tensors(directory)).values())


def reference(directory, cases, dtype):
    """The golden's cases, or those of transformers with the weights rounded to bfloat16."""
    if dtype == "float32" or not rounds(directory):
        return cases
    model = golden.load(directory)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    return [golden.golden_case(model, case["prompt"], len(case["tokens"])) for case in cases]


def compare_generate(report, directory, cases, work, dtype):
    prompts = write_lines(work / "prompts.jsonl", [{"ids": case["prompt"]} for case in cases])
    new_tokens = len(cases[0]["tokens"])
    rows = json_lines("generate", directory, "--prompts", prompts, "--ids", "--greedy", "--max-tokens", new_tokens,
                      "--ignore-eos", "--dtype", dtype)
    report.same(f"generate {dtype}: lines", directory.name, len(rows), len(cases))
    for case, row in zip(cases, rows):
        where = f"{directory.name}, prompt of {len(case['prompt'])}"
        if dtype == "float32" or case["smallest_margin"] > SAFE_MARGIN:
            report.same(f"generate {dtype}: completions", where, row["ids"], case["tokens"])
        if row["ids"] == case["tokens"]:
            report.within(f"generate {dtype}: log-probs", where, row["logprobs"], case["logprobs"], DTYPES[dtype])
        report.same(f"generate {dtype}: finish reasons", where, row["finish_reason"], "length")


def compare_score(report, directory, cases, work, dtype):
    texts = write_lines(work / "ids.jsonl", [{"ids": case["prompt"] + case["tokens"]} for case in cases])
    rows = json_lines("score", directory, "--file", texts, "--ids", "--dtype", dtype)
    report.same(f"score {dtype}: lines", directory.name, len(rows), len(cases))
    for case, row in zip(cases, rows):
        where = f"{directory.name}, {len(case['prompt']) + len(case['tokens'])} ids"
        wanted = case["prompt_logprobs"] + case["logprobs"]
        report.within(f"score {dtype}: log-probs", where, row["logprobs"], wanted, DTYPES[dtype])


def expected_tensors(directory):
    """What a save of the loaded directory holds, by name, and what is left out."""
    stored = golden.read_tensors(directory)
    config = json.loads((directory / "config.json").read_text())
    if config.get("num_nextn_predict_layers"):
        mtp = f"model.layers.{config['num_hidden_layers']}."
        stored = {name: tensor for name, tensor in stored.items() if not name.startswith(mtp)}
    return stored


def compare_tensors(report, directory, out):
    stored, saved = expected_tensors(directory), golden.read_tensors(out)
    plain = golden.dequantised(stored)
    report.same("export: tensor names", directory.name, sorted(saved), sorted(plain))
    for name, tensor in plain.items():
        if name not in saved:
            continue
        where, got = f"{directory.name}, {name}", saved[name]
        if stored[name].dtype == torch.float8_e4m3fn:
            report.count("export: dequantised tensors", 1, not torch.equal(got, tensor.to(got.dtype)), where)
        else:
            same = got.dtype == tensor.dtype and got.shape == tensor.shape and torch.equal(got.view(torch.uint8), tensor.view(torch.uint8))
            report.count("export: tensors byte-equal", 1, not same, f"{where}: {got.dtype} {list(got.shape)}")


@torch.no_grad()
def compare_reopened(report, directory, out, cases):
    """transformers on the saved directory against transformers on the original."""
    _, loading = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32, output_loading_info=True)
    unhappy = {key: sorted(names) for key, names in loading.items() if names and key.endswith("_keys")}
    report.same("export: transformers' complaints", directory.name, unhappy, {})
    before, after = golden.load(directory), golden.load(out)
    for case in cases:
        where, ids = f"{directory.name}, prompt of {len(case['prompt'])}", case["prompt"] + case["tokens"]
        wanted, got = (golden.logits_of(model, ids).flatten().tolist() for model in (before, after))
        report.within("export: logits in transformers", where, got, wanted, FLOAT32_TOLERANCE)
        report.same("export: greedy in transformers", where, golden.greedy(after, case["prompt"], len(case["tokens"])), case["tokens"])


def compare_export(report, directory, cases, work):
    out = work / "saved"
    run("export", directory, "--output", out)
    compare_tensors(report, directory, out)
    compare_reopened(report, directory, out, cases)


def compare_directory(report, directory):
    cases = json.loads((directory / "golden.json").read_text())["cases"]
    with tempfile.TemporaryDirectory() as work:
        work, parts = Path(work), []
        for dtype in DTYPES:
            wanted = reference(directory, cases, dtype)
            parts += [(f"generate {dtype}", lambda dtype=dtype, wanted=wanted: compare_generate(report, directory, wanted, work, dtype)),
                      (f"score {dtype}", lambda dtype=dtype, wanted=wanted: compare_score(report, directory, wanted, work, dtype))]
        parts += [("export", lambda: compare_export(report, directory, cases, work))]
        parts += [("adapter", lambda: compare_adapters.compare(report, directory, cases, work))]
        for name, part in parts:
            try:
                part()
            except Refused as error:
                report.refused(f"{name}: runs", directory.name, error)


def compare(report, directories=()):
    for directory in directories or sorted(path.parent for path in GOLDENS.glob("*/golden.json")):
        print(f"models: {directory.name}", file=sys.stderr)
        compare_directory(report, directory)
    with tempfile.TemporaryDirectory() as work:
        try:
            compare_adapters.compare_written(report, Path(work))
        except Refused as error:
            report.refused("adapter of Sluice: runs", "the run", error)
    report.note("bfloat16: weights stored wider are rounded on load, and transformers' numbers are those of the rounded weights.")
    report.note("A save of float8 weights holds them dequantised; layers of multi-token prediction are left out of it.")


if __name__ == "__main__":
    everything = Report()
    compare(everything, [Path(argument) for argument in sys.argv[1:]])
    finish(everything)
