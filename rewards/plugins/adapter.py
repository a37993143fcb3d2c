"""Speaks Sluice's reward protocol (docs/rewards_protocol.md) for a function of a Python file.

`python3 -c THIS FILE FUNCTION SIGNATURE`, where the signature is trl, verl, or "" for whichever the parameters name:

    def reward(prompts, completions, completion_ids=..., **columns) -> list[float | None]            TRL
    def compute_score(data_source, solution_str, ground_truth, extra_info) -> float | dict           verl

A reward of None is unscored. What the file prints goes to stderr, and it finds nothing on stdin.
"""

import sys

sys.path[:] = [folder for folder in sys.path if folder]  # a json.py where this runs is not to stand in for json

import asyncio
import importlib.machinery
import importlib.util
import inspect
import itertools
import json
import math
import os
import traceback

PROTOCOL = 1
REQUEST_BYTES = 1 << 18  # that are read at once
NOT_COLUMNS = {"prompt", "completion", "completion_ids"}  # which TRL does not hand on either


def take_streams():
    """The protocol's streams, out of reach of whatever the file writes and reads."""
    requests = os.fdopen(os.dup(0), "rb", REQUEST_BYTES)
    replies = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, replies


def load(path, name):
    stem = os.path.splitext(os.path.basename(path))[0]
    if stem in sys.modules:
        stem = "sluice_" + stem
    sys.path.insert(0, os.path.dirname(path))
    loader = importlib.machinery.SourceFileLoader(stem, path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(stem, loader))
    sys.modules[stem] = module
    loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        names = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise LookupError(f"{path} has no function {name}; it has: {', '.join(names) or 'none'}")
    return function


def signature_of(function, parameters):
    if "completions" in parameters:
        return "trl"
    if "solution_str" in parameters:
        return "verl"
    raise LookupError(
        f"{function.__name__}({', '.join(parameters)}) has neither TRL's parameter completions nor verl's solution_str; "
        'say which it means with signature = "trl" or "verl"'
    )


def call(function, parameters, arguments):
    """With those of the arguments that it has a name for."""
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        arguments = {name: value for name, value in arguments.items() if name in parameters}
    result = function(**arguments)
    return asyncio.run(result) if inspect.iscoroutine(result) else result


def described(error):
    return f"{type(error).__name__}: {error}"[:500]


def outcome(value):
    """(score, reason, parts)"""
    parts = None
    if isinstance(value, dict):  # verl's: the score, and more that is worth a look
        parts = {str(key): float(part) for key, part in value.items() if isinstance(part, (bool, int, float))}
        for key, part in parts.items():
            if not math.isfinite(part):
                return None, f"bad output: the function gave {part} as {key}", None
        value = value["score"]
    if value is None:
        return None, "the function gave None", None
    if isinstance(value, (str, bytes)):
        return None, f"bad output: the function gave the text {value!r:.100}", None
    try:
        score = float(value)
    except (TypeError, ValueError):
        return None, f"bad output: the function gave a {type(value).__name__}", None
    if not math.isfinite(score):
        return None, f"bad output: the function gave {score}", None
    return score, None, parts


def score_trl(function, parameters, samples):
    conversations = all(sample.get("messages") for sample in samples)
    names = {name for sample in samples for name in sample["columns"]} - NOT_COLUMNS
    arguments = {name: [sample["columns"].get(name) for sample in samples] for name in sorted(names)}
    arguments["prompts"] = [sample["messages"] if conversations else sample["prompt"] for sample in samples]
    arguments["completions"] = [
        [{"role": "assistant", "content": sample["completion"]}] if conversations else sample["completion"]
        for sample in samples
    ]
    arguments["completion_ids"] = [sample["tokens"] for sample in samples]
    # Of TRL's trainer, which is not here.
    arguments["trainer_state"] = None
    arguments["log_extra"] = arguments["log_metric"] = lambda *args, **more: None
    values = call(function, parameters, arguments)
    if not hasattr(values, "__len__"):  # an iterator, which may have no end
        values = itertools.islice(values, len(samples) + 1)
    return [outcome(value) for value in values]


def score_verl(function, parameters, samples):
    outcomes = []
    for sample in samples:
        columns = sample["columns"]
        model = columns.get("reward_model")
        truth = model.get("ground_truth") if isinstance(model, dict) else None
        arguments = {
            "data_source": columns.get("data_source", ""),
            "solution_str": sample["completion"],
            "ground_truth": columns.get("ground_truth", columns.get("answer")) if truth is None else truth,
            "extra_info": columns.get("extra_info", columns),
        }
        try:
            outcomes.append(outcome(call(function, parameters, arguments)))
        except Exception as error:
            traceback.print_exc()
            outcomes.append((None, "error: " + described(error), None))
    return outcomes


def answer(request, score):
    try:
        outcomes = score(request["samples"])
    except Exception as error:
        traceback.print_exc()
        return {"id": request["id"], "error": described(error)}
    scores, reasons, parts = map(list, zip(*outcomes)) if outcomes else ([], [], [])
    return {"id": request["id"], "scores": scores, "reasons": reasons, "parts": parts}


def main():
    path, name, signature = sys.argv[1:]
    requests, replies = take_streams()

    def write(message):
        # A lone surrogate, which is no text, is written as a question mark.
        text = json.dumps(message, ensure_ascii=False, allow_nan=False)
        replies.write(text.encode("utf-8", "replace") + b"\n")
        replies.flush()

    try:
        function = load(path, name)
        parameters = inspect.signature(function).parameters
        signature = signature or signature_of(function, parameters)
    except Exception as error:
        traceback.print_exc()
        return write({"sluice_reward": PROTOCOL, "error": described(error)})
    speak = score_trl if signature == "trl" else score_verl
    write({"sluice_reward": PROTOCOL, "name": name})
    for line in requests:
        write(answer(json.loads(line), lambda samples: speak(function, parameters, samples)))


main()
