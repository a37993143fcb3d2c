#!/usr/bin/env python3
"""Writes data/gsm8k/calculator_traces.jsonl: worked solutions of GSM8K that call the calculator.

Each calculator note of a solution, 48/2 = <<48/2=24>>24, becomes a call and what the tool says of it, in the
form of docs/tools.md. Taken are the first solutions of the training file all of whose notes the calculator
computes to what the note says.
"""

import json
import pathlib
import re
from fractions import Fraction

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "data" / "gsm8k"
COUNT = 400


def value_of(expression):
    """The fraction that an expression of numbers, + - * / and parentheses is; nothing for any other text."""
    if not re.fullmatch(r"[-+*/(). 0-9]+", expression) or "**" in expression or "//" in expression:
        return None
    try:
        return eval(re.sub(r"\d+(\.\d+)?", r"Fraction('\g<0>')", expression), {"Fraction": Fraction})
    except (SyntaxError, TypeError, ZeroDivisionError, ValueError):
        return None


def trace_of(answer):
    def call(note):
        expression, value = note.group(1).split("=", 1)
        if value_of(expression) is None or value_of(expression) != value_of(value):
            raise ValueError(note.group(0))
        asked = json.dumps({"name": "calculator", "arguments": {"expression": expression}})
        return f"<tool_call>{asked}</tool_call>\n<tool_response>\n{value}\n</tool_response>\n"

    return re.sub(r"<<([^<>]*=[^<>]*)>>", call, answer)


def main():
    lines = []
    with open(FOLDER / "train.jsonl", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            try:
                trace = trace_of(row["answer"])
            except ValueError:
                continue
            if "<tool_call>" not in trace:
                continue
            lines.append(json.dumps({"question": row["question"], "completion": "\n" + trace, "answer": row["answer"]}))
            if len(lines) == COUNT:
                break
    (FOLDER / "calculator_traces.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
