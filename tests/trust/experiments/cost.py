"""What it costs that nothing is lost."""
import json
import statistics

from .runs import expect, preloaded

# A policy of ordinary size for a CPU: steps of half a second and more, as they are where this matters.
OVERRIDES = ("model.hidden_size=128", "model.layers=4", "model.heads=4", "model.intermediate_size=344",
             "rollout.prompts_per_step=16", "grpo.steps=16", "sft.steps=2", "grpo.checkpoint.every=16")


def seconds_of_steps(place, name):
    """Seconds from the first step of grpo to its last, by the clock of metrics.jsonl."""
    lines = map(json.loads, (place.root(name) / "metrics.jsonl").read_text().splitlines())
    times = [line["wall_time"] for line in lines if line["stage"] == "grpo"]
    return times[-1] - times[0]


def durability_cost(place, count, random_):
    """Pairs of runs one after the other, with syncs and without: how much faster is it to lose what a power cut takes?"""
    ratios = []
    for number in range(count):
        seconds = {}
        kinds = ["synced", "unsynced"]
        random_.shuffle(kinds)
        for kind in kinds:
            name = f"cost-{kind}-{number}"
            environment = preloaded(place, "no_sync") if kind == "unsynced" else {}
            expect(place.finish(name, overrides=OVERRIDES, environment=environment) == 0,
                   f"{name} does not end; see its log")
            seconds[kind] = seconds_of_steps(place, name)
        ratios.append(seconds["unsynced"] / seconds["synced"])
    return {"pairs": count, "steps_per_s_of_unsynced": round(statistics.median(ratios), 3),
            "lowest": round(min(ratios), 3), "highest": round(max(ratios), 3)}
