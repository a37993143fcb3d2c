#!/usr/bin/env python3
"""Checks that every #include keeps the walls between the rooms.

A room includes itself and the rooms of the groups to its left; what lies in a folder inside a room, ROOM/internal/ or
another, is for that room and its tests alone. Prints each breach and exits 1 when there is one. With --self-test it checks itself instead, on a
tree with one breach of each kind.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

GROUPS = [
    ["base"],
    ["text", "model", "transport", "monitor"],
    ["rewards", "reference", "optim"],
    ["buffers"],
    ["actors", "learner", "sft"],
    ["recipes", "serve"],
    ["app"],
]
GROUP_OF = {room: number for number, rooms in enumerate(GROUPS) for room in rooms}
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
SUFFIXES = {".h", ".cc", ".cu", ".cuh"}


def breach(room, included):
    """Why a file of `room` must not include this path, or None."""
    parts = pathlib.PurePosixPath(included).parts
    other = parts[0]
    if ".." in parts or len(parts) < 2:
        return "is not written from the top of the repository"
    if other not in GROUP_OF:
        return None
    if other == room:
        return None
    if GROUP_OF[other] >= GROUP_OF[room]:
        return f"{other} does not stand to the left of {room}"
    if len(parts) > 2:
        return f"{other}/{parts[1]} is the business of {other} alone"
    return None


def sources(root):
    """(room, file) for every source of a room and of its tests."""
    for room in GROUP_OF:
        for folder in (root / room, root / "tests" / room):
            for source in sorted(folder.rglob("*")):
                if source.suffix in SUFFIXES:
                    yield room, source


def breaches(root):
    for room, source in sources(root):
        for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
            found = INCLUDE.match(line)
            if not found:
                continue
            # <vector> and <ATen/ATen.h> are nobody's room; <base/error.h> is a room in other brackets.
            included = found[1] or found[2]
            if found[2] and pathlib.PurePosixPath(included).parts[0] not in GROUP_OF:
                continue
            if why := breach(room, included):
                yield f'{source.relative_to(root)}:{number}: "{included}" {why}'


# A line each: the file it stands in, the line, and whether it keeps the walls.
CASES = [
    ("base/error.cc", '#include "base/error.h"', True),
    ("model/rope.cc", '#include "base/error.h"', True),
    ("model/rope_kernel.cu", '#include "model/internal/rope.h"', True),
    ("learner/step.cc", '#include "buffers/ledger.h"', True),
    ("app/run.cc", '#include "recipes/run.h"', True),
    ("app/wide.cc", '#include <base/error.h>', True),
    ("text/rows.cc", '#include <vector>', True),
    ("text/prose.cc", '// #include "learner/step.h" would be a breach', True),
    ("tests/model/rope_test.cc", '#include "model/internal/rope.h"', True),
    ("tests/model/help_test.cc", '#include "tests/tiny_network.h"', True),
    ("base/up.h", '#include "text/tokenizer.h"', False),
    ("text/beside.h", '#include "model/network.h"', False),
    ("actors/across.cc", '#include "learner/policy_loss.h"', False),
    ("learner/across.cc", '#include "actors/scheduler.h"', False),
    ("sft/beside.cc", '#include "learner/step.h"', False),
    ("recipes/beside.cc", '#include "serve/server.h"', False),
    ("learner/inside.cu", '#include "model/internal/rope.h"', False),
    ("model/kernels/deep.cc", '#include "buffers/ledger.h"', False),
    ("model/kernels/inside.cc", '#include "base/internal/posix.h"', False),
    ("app/inside.cc", '#include "text/jinja/value.h"', False),
    ("model/dots.cc", '#include "../base/error.h"', False),
    ("model/bare.cc", '#include "rope.h"', False),
    ("text/angle.cc", '#  include <learner/step.h>', False),
    ("tests/base/up_test.cc", '#include "text/tokenizer.h"', False),
]


def run_on(root):
    return subprocess.run([sys.executable, __file__, root], capture_output=True, text=True)


def self_test():
    """Runs this script on trees whose answer is known: one for each case, and an empty one."""
    for name, line, kept in CASES:
        with tempfile.TemporaryDirectory() as root:
            source = pathlib.Path(root) / name
            source.parent.mkdir(parents=True)
            source.write_text(f"// A file.\n{line}\n")
            seen = run_on(root)
            assert seen.returncode == (0 if kept else 1), (name, line, seen.stdout, seen.stderr)
            assert (f"{name}:2: " in seen.stdout) != kept, (name, line, seen.stdout, seen.stderr)
    with tempfile.TemporaryDirectory() as root:
        assert run_on(root).returncode == 1, "a tree without sources passes"
    print(f"walls: {len(CASES)} cases judged as they should be")


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    found = list(breaches(root))
    read = sum(1 for _ in sources(root))
    print(*found, sep="\n", end="\n" if found else "")
    print(f"walls: {len(found)} breaches in {read} files")
    return 1 if found or read == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
