#!/usr/bin/env python3
"""Checks that every #include keeps the walls between the rooms.

A room includes itself and the rooms of the groups to its left; what lies in ROOM/internal/ is for that room and
its tests alone. Prints each breach and exits 1 when there is one.
"""

import pathlib
import re
import sys

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
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
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
    if "internal" in parts:
        return f"{other}/internal is the business of {other} alone"
    return None


def breaches(root):
    for room in GROUP_OF:
        for folder in (root / room, root / "tests" / room):
            for source in sorted(folder.rglob("*")):
                if source.suffix not in SUFFIXES:
                    continue
                for number, line in enumerate(source.read_text().splitlines(), 1):
                    if (found := INCLUDE.match(line)) and (why := breach(room, found[1])):
                        yield f'{source.relative_to(root)}:{number}: "{found[1]}" {why}'


def check_the_check():
    """The rule itself, on includes whose answer is known."""
    allowed = [("model", "base/error.h"), ("model", "model/internal/rope.h"), ("app", "recipes/run.h"),
               ("base", "base/error.h"), ("learner", "buffers/ledger.h")]
    forbidden = [("actors", "learner/policy_loss.h"), ("base", "text/tokenizer.h"), ("text", "model/network.h"),
                 ("learner", "model/internal/rope.h"), ("model", "../base/error.h"), ("model", "error.h")]
    for room, included in allowed:
        assert breach(room, included) is None, (room, included)
    for room, included in forbidden:
        assert breach(room, included) is not None, (room, included)


def main():
    check_the_check()
    found = list(breaches(pathlib.Path(__file__).resolve().parent.parent))
    print(*found, sep="\n", end="\n" if found else "")
    print(f"walls: {len(found)} breaches")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
