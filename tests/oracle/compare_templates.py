"""Chat templates: the cases that the tests read are what jinja2 and transformers render today.

Runs the generator of data/chat_templates/cases.json and compares what it writes with the file; then the conversations of
shipped model directories through `sluice tokenizer template`.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from sluice import SOURCE, Report, finish

GENERATOR = Path(__file__).with_name("make_chat_cases.py")
CASES = SOURCE / "data" / "chat_templates" / "cases.json"


def compare(report):
    with tempfile.TemporaryDirectory() as work:
        fresh = Path(work) / "cases.json"
        subprocess.run([sys.executable, GENERATOR, fresh], check=True, timeout=300)
        kept, made = (json.loads(file.read_text()) for file in (CASES, fresh))
    report.same("templates: number of cases", "cases.json", len(kept), len(made))
    for before, now in zip(kept, made):
        report.same("templates: cases as jinja2 renders them", str(before)[:60], before, now)


if __name__ == "__main__":
    everything = Report()
    compare(everything)
    finish(everything)
