"""Token ids of Sluice against `tokenizers` and `sentencepiece`, on more than 10,000 strings for each tokenizer; and the time.

  compare_tokenizers.py [PATH...]   further directories, tokenizer.json or .model files to compare
"""
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import sentencepiece
from tokenizers import Tokenizer

import make_tokenizers
from sluice import SOURCE, Refused, Report, finish, json_lines, run, write_lines
from strings import SENTENCES, strings

SHIPPED = SOURCE / "data" / "tokenizers"
TIMED = ("gpt2", "llama3", "qwen2", "llama2", "unigram")
ROUNDS = 3


class Wheel:
    """The `tokenizers` wheel on a tokenizer.json."""

    def __init__(self, file):
        self.tokenizer = Tokenizer.from_file(str(file))
        added = self.tokenizer.get_added_tokens_decoder()
        self.special = {id: token.content for id, token in added.items() if token.special and token.content != "<unk>"}

    def encode(self, text):
        self.tokenizer.encode_special_tokens = False
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def encode_as_text(self, text):
        self.tokenizer.encode_special_tokens = True
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def parses_alike(self, text):
        return True

    def spells_special(self, text):
        return any(token in text for token in self.special.values())


class SentencePiece:
    """The `sentencepiece` wheel on a .model file: it always spells control tokens out, and never those of the user."""

    def __init__(self, file):
        processor = self.processor = sentencepiece.SentencePieceProcessor(model_file=str(file))
        ids = range(processor.get_piece_size())
        self.special = {}  # that a text could become
        self.control = [processor.id_to_piece(i) for i in ids if processor.is_control(i) or processor.is_unknown(i)]

    def encode(self, text):
        return self.processor.encode(text)

    encode_as_text = encode

    def parses_alike(self, text):
        return not self.spells_special(text)

    def spells_special(self, text):
        return any(token in text for token in self.control)


def oracle_of(path):
    if path.is_dir():
        path = next(file for file in (path / "tokenizer.json", path / "tokenizer.model") if file.exists())
    return Wheel(path) if path.suffix == ".json" else SentencePiece(path)


def never_in(never, ids):
    return any(id in never for id in ids)


def compare_ids(report, check, path, texts, encode, work, *options, never=()):
    """Ids equal the oracle's; where that gives ids that Sluice never makes of a text, it is enough to give none of them."""
    file = write_lines(work / "texts.jsonl", [{"text": text} for text in texts])
    try:
        rows = json_lines("tokenizer", "encode", path, "--file", file, *options)
    except Refused as error:
        return report.refused(check, path.name, error)
    report.same(check, "lines", len(rows), len(texts))
    for text, row in zip(texts, rows):
        wanted = encode(text)
        differs = row["ids"] != wanted
        if never_in(never, wanted):
            differs = never_in(never, row["ids"])
        report.count(check, 1, differs, f"{text[:40]!r}: got {row['ids'][:12]}, expected {wanted[:12]}")


def compare_tokenizer(report, name, path, texts, work):
    oracle = oracle_of(path)
    compare_ids(report, f"ids: {name}", path, [text for text in texts if oracle.parses_alike(text)], oracle.encode, work)
    spelled = [text for text in texts if oracle.spells_special(text)]
    compare_ids(report, f"ids: {name}, specials as text", path, spelled, oracle.encode_as_text, work, "--specials", "as-text",
                never=oracle.special)


def timed_documents():
    shakespeare = (SOURCE / "data" / "text" / "tinyshakespeare.txt").read_text().split("\n\n")
    problems = (SOURCE / "data" / "gsm8k" / "train.jsonl").read_text().split("\n")
    return [*shakespeare[::2], *problems[::8], *SENTENCES * 100]


def fastest(encode):
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        encode()
        times.append(time.perf_counter() - start)
    return min(times)


def compare_time(report, name, path, work):
    """Both encode the same documents one after another on one thread; the best of three rounds counts."""
    documents = timed_documents()
    size = sum(len(text.encode()) for text in documents)
    file = write_lines(work / "timed.jsonl", [{"text": text} for text in documents])
    wheel = Tokenizer.from_file(str(path / "tokenizer.json"))
    wheel_s = fastest(lambda: [wheel.encode(text, add_special_tokens=False) for text in documents])
    batch_s = fastest(lambda: wheel.encode_batch_fast(documents, add_special_tokens=False))
    wheel_mb_s = size / min(wheel_s, batch_s) / 1e6
    try:
        ours_mb_s = json.loads(run("bench", "tokenizer", "--tokenizer", path, "--text", file, "--rounds", ROUNDS))["encode_mb_s"]
    except Refused as error:
        return report.refused(f"time: {name}", name, error)
    ratio = ours_mb_s / wheel_mb_s
    report.count(f"time: {name}", 1, ratio < 1.0, f"{ratio:.2f} of the wheel's speed")
    report.note(f"time: {name}: {size / 1e6:.1f} MB, wheel {wheel_mb_s:.1f} MB/s, sluice {ours_mb_s:.1f} MB/s, ratio {ratio:.2f}")


def compare(report, paths=()):
    texts = strings()
    report.note(f"Tokenizers are compared on {len(texts)} strings each.")
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        made = {kind: make_tokenizers.make(work, kind) for kind in (*make_tokenizers.KINDS, *make_tokenizers.SENTENCEPIECE)}
        shipped = {file.stem: file for file in sorted(SHIPPED.glob("*.model"))}
        shipped |= {file.parent.name: file.parent for file in sorted(SHIPPED.glob("*/tokenizer.json"))}
        for name, path in {**shipped, **made, **{str(path): path for path in paths}}.items():
            print(f"tokenizers: {name}", file=sys.stderr)
            compare_tokenizer(report, name, path, texts, work)
        for name in TIMED:
            compare_time(report, name, made[name], work)


if __name__ == "__main__":
    everything = Report()
    compare(everything, [Path(argument) for argument in sys.argv[1:]])
    finish(everything)
