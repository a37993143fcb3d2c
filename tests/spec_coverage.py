#!/usr/bin/env python3
"""Runs every test that reads the worked examples of the specification and says which ones were read.

usage: spec_coverage.py BUILD_DIRECTORY

Each test binary writes the names of the examples it asks for to the file that SLUICE_SPEC_EXAMPLES names
(tests/spec_example.h). An example that no test asks for is a failure, as is a test that fails.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
EXAMPLES = SOURCES.parent / "data/spec/examples.json"
SUITE = re.compile(r"^(?:TEST|TEST_F|TEST_P)\((\w+),", re.MULTILINE)
TIMEOUT_S = 600


def suites_of_rooms():
    """Names of the suites in files that read examples, by room."""
    rooms = {}
    for source in sorted(SOURCES.glob("*/*_test.cc")):
        text = source.read_text()
        if "spec_example(" in text or "packed_example.h" in text:
            rooms.setdefault(source.parent.name, set()).update(SUITE.findall(text))
    return rooms


def main():
    build = Path(sys.argv[1])
    names = {example["name"] for example in json.loads(EXAMPLES.read_text())["examples"]}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "examples"
        log.touch()
        for room, suites in suites_of_rooms().items():
            wanted = ":".join(pattern for suite in sorted(suites) for pattern in (f"{suite}.*", f"*/{suite}.*"))
            subprocess.run([build / f"{room}_test", f"--gtest_filter={wanted}", "--gtest_brief=1"], check=True,
                           timeout=TIMEOUT_S, env={**os.environ, "SLUICE_SPEC_EXAMPLES": str(log)})
        checked = set(log.read_text().split())
    missing = sorted(names - checked)
    print(f"{len(names) - len(missing)} of {len(names)} examples of the specification checked")
    for name in missing:
        print(f"  no test reads {name}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
