#!/usr/bin/env python3
"""Writes data/preference/digits_{train,test}.jsonl: pairs of which a rule decides.

  make_digit_pairs.py DIR

A prompt "2,5:9,4" asks for the 4 numbers that go on from 2 and 5 with the same difference modulo 9 + 1. The chosen
completion is right ("8,1,4,7", also in the column `answer`); the rejected one stops too early, stops too late, or is as
long and has a wrong number or goes on with another difference. No prompt is in both files.
"""

import json
import pathlib
import random
import sys

MODULUS, LONGEST, SEED = 10, 8, 1
TEST_PROMPTS, TRAIN_REJECTED, TEST_REJECTED = 120, 14, 3


def numbers_after(last, difference, count):
    return [(last + difference * (i + 1)) % MODULUS for i in range(count)]


def spoiled(right, second, difference, rng):
    """A completion that is not the right one."""
    kind = rng.randrange(3)
    if kind == 0 and len(right) > 1:
        return right[: rng.randrange(1, len(right))]
    if kind == 1:
        return numbers_after(second, difference, len(right) + rng.randrange(1, 4))
    if rng.randrange(2) == 0:
        other = (difference + rng.randrange(1, MODULUS)) % MODULUS
        return numbers_after(second, other, len(right))
    wrong, place = list(right), rng.randrange(len(right))
    wrong[place] = (wrong[place] + rng.randrange(1, MODULUS)) % MODULUS
    return wrong


def rows(prompts, times, rng):
    for first, second, count in prompts:
        difference = second - first
        right = numbers_after(second, difference, count)
        text = ",".join(map(str, right))
        wrong = set()
        for _ in range(times):
            wrong.add(",".join(map(str, spoiled(right, second, difference, rng))))
        for rejected in sorted(wrong):
            yield {"prompt": f"{first},{second}:{MODULUS - 1},{count}", "chosen": text, "rejected": rejected, "answer": text}


def main():
    folder, rng = pathlib.Path(sys.argv[1]), random.Random(SEED)
    prompts = [(a, b, n) for a in range(MODULUS) for b in range(MODULUS) for n in range(1, LONGEST + 1)]
    rng.shuffle(prompts)
    for name, part, times in (("test", prompts[:TEST_PROMPTS], TEST_REJECTED), ("train", prompts[TEST_PROMPTS:], TRAIN_REJECTED)):
        lines = [json.dumps(row) for row in rows(part, times, rng)]
        (folder / f"digits_{name}.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
