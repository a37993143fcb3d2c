"""Chat templates: conversations through `sluice tokenizer chat` against transformers, and the cases that the tests read.

Each template of data/chat_templates is put beside a tokenizer as the directory of a model; conversations that transformers
refuses have to be refused.
"""
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from transformers import AutoTokenizer

from make_chat_cases import TOKENS
from sluice import SOURCE, Refused, Report, finish, json_lines, write_lines

DATA = SOURCE / "data" / "chat_templates"
TOKENIZER = SOURCE / "data" / "tokenizers" / "minimind" / "tokenizer.json"


def model_directory(root, template):
    directory = root / template.stem
    directory.mkdir()
    shutil.copy(TOKENIZER, directory)
    shutil.copy(template, directory / "chat_template.jinja")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **TOKENS}
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return directory


def expected(tokenizer, talk, generation_prompt, masked):
    """Text and ids as transformers has them, and which ids are to be learned; None when it refuses."""
    options = dict(tools=talk.get("tools"), add_generation_prompt=generation_prompt, **talk.get("extra", {}))
    try:
        text = tokenizer.apply_chat_template(talk["messages"], tokenize=False, **options)
        ids = tokenizer.apply_chat_template(talk["messages"], tokenize=True, return_dict=True,
                                            return_assistant_tokens_mask=masked, **options)
    except Exception:  # whatever jinja2 refuses
        return None
    return text, ids["input_ids"], ids.get("assistant_masks")


def compare_one(report, tokenizer, directory, talk, generation_prompt, work):
    where = f"{directory.name}, {talk['name']}"
    row = {"messages": talk["messages"], **({"tools": talk["tools"]} if "tools" in talk else {}), **talk.get("extra", {})}
    file = write_lines(work / "talk.jsonl", [row])
    masked = "generation %}" in (directory / "chat_template.jinja").read_text()
    wanted = expected(tokenizer, talk, generation_prompt, masked)
    try:
        got = json_lines("tokenizer", "chat", directory, "--file", file, *(["--generation-prompt"] if generation_prompt else []))[0]
    except Refused as error:
        return report.count("templates: refused as transformers does", 1, wanted is not None, f"{where}: {error}")
    if wanted is None:
        return report.count("templates: refused as transformers does", 1, 1, f"{where}: rendered, expected a refusal")
    text, ids, mask = wanted
    report.same("templates: texts", where, got["text"], text)
    report.same("templates: ids", where, got["ids"], ids)
    if masked:
        bytes_of = text.encode()
        learned = "".join(bytes_of[first:end].decode() for first, end in got["generation"])
        report.same("templates: learned parts", where, learned, tokenizer.decode([i for i, m in zip(ids, mask) if m]))


def compare_cases(report):
    """cases.json is what its generator writes with the jinja2 of today."""
    with tempfile.TemporaryDirectory() as work:
        fresh = Path(work) / "cases.json"
        subprocess.run([sys.executable, Path(__file__).with_name("make_chat_cases.py"), fresh], check=True, timeout=300)
        kept, made = (json.loads(file.read_text()) for file in (DATA / "cases.json", fresh))
    report.same("templates: number of cases", "cases.json", len(kept), len(made))
    for before, now in zip(kept, made):
        report.same("templates: cases as jinja2 renders them", str(before)[:60], before, now)


def compare(report):
    compare_cases(report)
    conversations = json.loads((DATA / "conversations.json").read_text())
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        for template in sorted(DATA.glob("*.jinja")):
            print(f"templates: {template.stem}", file=sys.stderr)
            directory = model_directory(work, template)
            tokenizer = AutoTokenizer.from_pretrained(directory)
            for talk in filter(lambda one: one["messages"], conversations):  # transformers wants a first message to look at
                for generation_prompt in (False, True):
                    compare_one(report, tokenizer, directory, talk, generation_prompt, work)


if __name__ == "__main__":
    everything = Report()
    compare(everything)
    finish(everything)
