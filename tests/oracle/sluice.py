"""Runs the program under test, and collects what the oracles find."""
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("SLUICE_BINARY", SOURCE / "build" / "sluice"))
GOLDENS = SOURCE / "data" / "goldens"
TIMEOUT_S = 300


class Refused(Exception):
    """The program ended with another exit code than 0; its last words are the message."""


def run(*arguments):
    """What the program prints to stdout."""
    environment = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}  # that one is Python's torch's
    done = subprocess.run([str(BINARY), *map(str, arguments)], capture_output=True, text=True, timeout=TIMEOUT_S, env=environment)
    if done.returncode != 0:
        words = " ".join((done.stderr or done.stdout).split())
        raise Refused(f"exit {done.returncode}: {words[-300:]}")
    return done.stdout


def json_lines(*arguments):
    return [json.loads(line) for line in run(*arguments, "--json").split("\n") if line]


def write_lines(path, rows):
    # Escaped to ASCII, so that no reader splits a line at U+0085 or U+2028.
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@dataclass
class Check:
    compared: int = 0
    different: int = 0
    largest: float | None = None  # largest numeric difference, where the check has one
    examples: list = field(default_factory=list)


class Report:
    """One row for each check, in the order of their first use."""

    MAX_EXAMPLES = 5

    def __init__(self):
        self.checks = {}
        self.notes = []

    def count(self, check, compared, different=0, example=None):
        row = self.checks.setdefault(check, Check())
        row.compared += compared
        row.different += different
        if different and example and len(row.examples) < self.MAX_EXAMPLES:
            row.examples.append(example)

    def within(self, check, where, got, wanted, tolerance):
        """Numbers of two lists, pair by pair."""
        row = self.checks.setdefault(check, Check())
        if len(got) != len(wanted):
            self.count(check, max(len(got), len(wanted)), 1, f"{where}: {len(got)} numbers, expected {len(wanted)}")
            return
        # A NaN is farther away than any number.
        differences = [abs(a - b) if abs(a - b) >= 0 else float("inf") for a, b in zip(got, wanted)]
        worst = max(differences, default=0.0)
        row.largest = max(row.largest or 0.0, worst)
        self.count(check, len(got), sum(d > tolerance for d in differences), f"{where}: off by {worst:.3g}, allowed {tolerance:g}")

    def same(self, check, where, got, wanted):
        self.count(check, 1, got != wanted, f"{where}: got {str(got)[:120]}, expected {str(wanted)[:120]}")

    def refused(self, check, where, error):
        self.count(check, 1, 1, f"{where}: {error}")

    def note(self, text):
        self.notes.append(text)

    def print(self):
        width = max((len(name) for name in self.checks), default=5) + 2
        print(f"{'check':<{width}}{'compared':>10}{'different':>11}{'largest':>11}")
        for name, row in self.checks.items():
            largest = "" if row.largest is None else f"{row.largest:.2g}"
            print(f"{name:<{width}}{row.compared:>10}{row.different:>11}{largest:>11}")
            for example in row.examples:
                print(f"    {example}")
        for text in self.notes:
            print(text)
        sys.stdout.flush()

    def failed(self):
        return any(row.different for row in self.checks.values())


def finish(report):
    report.print()
    sys.exit(1 if report.failed() else 0)
