"""Numbers that are not finite, at every place where they can arise: none ever reaches a checkpoint."""
import array
import json
import math

from .runs import Broken, expect, failpoints

# How often a run comes to a place at least; an optimizer does in both stages, and begins to count in each.
TIMES = {"reward.score": 30, "actor.logprob": 4000, "learner.ratio": 20, "learner.loss": 20,
         "optimizer.gradient": 20, "optimizer.weight": 20}
TYPES = {"F32": "f", "F64": "d"}


def check_finite(file):
    """That every number of a safetensors file is."""
    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    for name, tensor in json.loads(data[8:start]).items():
        if name == "__metadata__" or tensor["dtype"] == "I64":
            continue
        expect(tensor["dtype"] in TYPES, f"{file}: {name} is of type {tensor['dtype']}, which this does not read")
        begin, end = tensor["data_offsets"]
        numbers = array.array(TYPES[tensor["dtype"]], data[start + begin:start + end])
        expect(all(map(math.isfinite, numbers)), f"{file}: {name} holds a number that is not finite")


def check_checkpoints(place, run):
    files = list(place.root(run).glob("checkpoints/step_*/**/*.safetensors"))
    for file in files:
        check_finite(file)
    return len(files)


def numbers(place, count, random_):
    """NaN and infinity in turn at each place; what is skipped, quarantined or gone back from is said."""
    places = failpoints("(number)")
    expect(sorted(places) == sorted(TIMES), f"the places that have a number are {places}")
    faults = [(where, value) for where in places for value in ("nan", "inf")]
    random_.shuffle(faults)
    counts = {"faults": 0, "files": 0, "unscored": 0, "quarantined": 0, "skipped": 0, "gone_back": 0, "ended": 0}
    for number in range(count):
        where, value = faults[number % len(faults)]
        time = random_.randint(1, TIMES[where])
        run = f"numbers-{number}"
        what = f"{run} with {where}:{time}:{value}"
        overrides = ("checkpoint.keep_last=100",)
        status = place.finish(run, environment={"SLUICE_FAIL": f"{where}:{time}:{value}"}, overrides=overrides)
        log = place.log(run)
        place.audit(run)
        counts["faults"] += 1
        counts["files"] += check_checkpoints(place, run)
        if status == 5:  # it came again after the run had gone back, or where there is no way back
            counts["ended"] += 1
            status = place.finish(run, overrides=overrides)
            counts["files"] += check_checkpoints(place, run)
        expect(status == 0, f"{what} ended with {status}; see its log")
        expect("starting another" not in log, f"{what}: an actor died of it; see the log")
        place.audit(run)
        law = place.result(run)["law"]
        expect(law["issued"] == law["trained"] + law["quarantined"] == 80, f"{what} ended with {law}")
        unscored = sum(f"gave {value}" in file.read_text() for file in place.root(run).glob("rollouts/step_*.jsonl"))
        seen = {"unscored": unscored, "quarantined": law["quarantined"], "skipped": log.count(" was skipped as "),
                "gone_back": log.count(", this once")}
        expected = {"reward.score": "unscored", "actor.logprob": "quarantined", "learner.ratio": "quarantined",
                    "learner.loss": "skipped", "optimizer.gradient": "skipped"}.get(where)
        if expected and seen[expected] == 0:
            raise Broken(f"{what}: nobody noticed; see the log")
        if where == "optimizer.weight":
            expect(seen["gone_back"] or "not finite" in log, f"{what}: nobody noticed; see the log")
        for key, times in seen.items():
            counts[key] += times
    return counts
