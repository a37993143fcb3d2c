#!/usr/bin/env python3
"""Says which worked examples of the specification the tests have read.

usage: spec_coverage.py FILE...

Each test binary writes the names of the examples that it asks for to the file that SLUICE_SPEC_EXAMPLES names
(tests/spec_example.h, tests/main.cc), one for each entry of ctest. An example that no test asks for is a failure.
"""
import json
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "data/spec/examples.json"


def main():
    names = {example["name"] for example in json.loads(EXAMPLES.read_text())["examples"]}
    checked = {name for file in sys.argv[1:] for name in Path(file).read_text().split()}
    missing = sorted(names - checked)
    print(f"{len(names) - len(missing)} of {len(names)} examples of the specification checked")
    for name in missing:
        print(f"  no test reads {name}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
