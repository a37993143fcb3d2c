"""Runs in one thread, and what a mistake in the product does to them."""
import json
import os
import resource
import subprocess

from .runs import BINARY, expect


def simulated(mode, seeds, first):
    """Counts of so many simulated runs, half of them on each of two cores."""
    share = -(-seeds // 2)
    halves = [subprocess.Popen([BINARY.parent / "simulate", *mode, str(share), str(first + half * share)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for half in range(2)]
    counts = {}
    for half in halves:
        out, problems = half.communicate()
        expect(half.returncode == 0, f"simulate {' '.join(mode)}: exit {half.returncode}\n{problems[-2000:]}")
        for key, value in json.loads(out).items():
            counts[key] = max(counts.get(key, 0), value) if key.startswith("longest_") else counts.get(key, 0) + value
    return {**counts, "first": first}


def core_seconds():
    """Of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def simulate(place, count, random_):
    """Runs in one thread by the thousand, and the same of the product with a mistake in it, which has to be found."""
    first = random_.randrange(1 << 40)
    before = core_seconds()
    safety = simulated([], count, first)
    liveness = simulated(["--liveness"], -(-count // 10), first)
    seconds = core_seconds() - before
    never = [name for name in safety if safety[name] + liveness[name] == 0 and name != "violations"]
    expect(count < 10_000 or not never, f"the simulation has never seen: {', '.join(never)}")
    mutants = sorted((BINARY.parent / "mutants").glob("*"))
    found = [mutant.name for mutant in mutants if mutant.is_file() and os.access(mutant, os.X_OK)]
    for name in found:
        done = subprocess.run([BINARY.parent / "mutants" / name, "500"], capture_output=True, text=True)
        expect("seed " in done.stderr, f"nothing in 500 runs finds the mistake {name}: exit {done.returncode}")
    expect(found, f"no mistakes are planted in {BINARY.parent / 'mutants'}")
    return {"seeds": safety["seeds"] + liveness["seeds"], "violations": 0, "mistakes_found": len(found),
            "core_seconds": round(seconds), "safety": safety, "liveness": liveness}
