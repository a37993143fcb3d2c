"""Runs of a small recipe: how they are started, looked at, broken, and what has to hold of them at their end."""
import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[3]
BINARY = Path(os.environ.get("SLUICE_BINARY", SOURCE / "build" / "sluice"))
LIMIT_S = 120  # no run of the recipe takes as long; a run that hangs is a finding

RECIPE = """name = "trust"
seed = 3
rewards = [{ use = "real_words" }]
model = { hidden_size = 32, layers = 2, heads = 2, intermediate_size = 64, max_position = 64 }
tokenizer = { train = "characters" }
data = { use = "text", path = "corpus.txt", prompt_chars = 8, window_chars = 32 }
rollout = { prompts_per_step = 4, group_size = 8, max_new_tokens = 48, actors = 2 }
checkpoint = { every = 5 }
monitor = { redis = "off" }

[[stages]]
use = "sft"
steps = 6
batch = { examples_per_step = 64, append_eos = false }
optim = { lr = 3e-3 }

[[stages]]
use = "grpo"
steps = 20
algorithm = { beta = 0.05 }
optim = { lr = 1e-3 }
"""


class Broken(Exception):
    """A promise that was not kept."""


def expect(condition, what):
    if not condition:
        raise Broken(what)


def end_of(process, name):
    """Its exit status."""
    try:
        return process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise Broken(f"{name} did not end within {LIMIT_S} s; see its log")


class Place:
    """A folder with the recipe, and runs of it."""

    def __init__(self, folder):
        self.folder = Path(folder)
        text = (SOURCE / "data/text/tinyshakespeare.txt").read_text()[:60000]
        (self.folder / "corpus.txt").write_text(text)
        (self.folder / "recipe.toml").write_text(RECIPE)
        self._left_alone = {}

    def start(self, name, environment=None, overrides=(), runs="runs", prefix=()):
        """`overrides` may begin with the name of another recipe of the folder."""
        recipe = () if overrides and overrides[0].endswith(".toml") else ("recipe.toml",)
        with open(self.folder / f"{name}.log", "ab") as log:
            return subprocess.Popen([*prefix, BINARY, "run", *recipe, *overrides, "--resume", "--name", name, "--runs",
                                     runs],
                                    cwd=self.folder, stdout=log, stderr=log,
                                    env={**os.environ, **(environment or {})})

    def finish(self, name, **how):
        """Lets a run come to its end; its exit status."""
        return end_of(self.start(name, **how), name)

    def root(self, name, runs="runs"):
        return self.folder / runs / name

    def done(self, name, runs="runs"):
        return (self.root(name, runs) / "summary.json").exists()

    def result(self, name, runs="runs"):
        return json.loads((self.root(name, runs) / "stages/grpo.json").read_text())

    def log(self, name):
        """What a run has printed so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def undisturbed_run(self, overrides=()):
        """The name of a run that was left alone."""
        if overrides not in self._left_alone:
            name = f"undisturbed-{len(self._left_alone)}"
            expect(self.finish(name, overrides=overrides) == 0,
                   f"the undisturbed run failed; see {self.folder / name}.log")
            self._left_alone[overrides] = name
        return self._left_alone[overrides]

    def audit(self, name, runs="runs"):
        """What `sluice audit` says, which has to hold."""
        root = self.root(name, runs)
        if not (root / "run.json").exists():
            return {"stages": []}  # killed before it was a run
        done = subprocess.run([BINARY, "audit", root, "--checkpoints", "--json"], capture_output=True, text=True)
        expect(done.returncode == 0, f"audit of {name}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr}")
        return json.loads(done.stdout)

    def check_end(self, name, runs="runs", overrides=()):
        self.audit(name, runs)
        ended, alone = self.result(name, runs), self.result(self.undisturbed_run(overrides))
        expect(ended["law"] == alone["law"], f"{name} ended with {ended['law']}, undisturbed it is {alone['law']}")
        expect(ended["weights_sha256"] == alone["weights_sha256"],
               f"{name} ended in other weights than the undisturbed run")


def family(process, role=None):
    """Processes that came of a run, by their role on the command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if parent == process.pid and (role is None or words[1].decode() == role):
                found.append(int(entry.name))
    return found


def wait_for_rollouts(place, name, process, steps):
    """Until the run has learned from so many batches."""
    deadline = time.monotonic() + LIMIT_S
    while len(list((place.root(name) / "rollouts").glob("step_*.jsonl"))) < steps:
        expect(process.poll() is None and time.monotonic() < deadline, f"{name} learned nothing; see its log")
        time.sleep(0.01)


def wait_for_checkpoints(place, name, process, steps):
    """Until the run has saved so many steps more than it had, or has ended."""
    def last():
        folders = place.root(name).glob("checkpoints/step_*")
        return max((int(folder.name.removeprefix("step_")) for folder in folders), default=0)

    wanted = last() + steps
    deadline = time.monotonic() + LIMIT_S
    while last() < wanted and process.poll() is None:
        expect(time.monotonic() < deadline, f"{name} saved nothing; see its log")
        time.sleep(0.01)


def kill(pid, number=signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def disturbed_runs(place, name, count, disturb):
    """Runs one after the other, each started again until it ends, until `disturb` was at work `count` times.

    disturb(process, number) breaks a run that goes on and returns how often; every time it is stopped it is audited.
    """
    faults = runs = starts = 0
    while faults < count:
        run = f"{name}-{runs}"
        runs += 1
        while not place.done(run):
            starts += 1
            expect(starts < 20 * count + 20, f"{run} is started again and again and does not end")
            if faults < count:
                faults += disturb(run, faults)
                place.audit(run)
            else:
                status = place.finish(run)
                expect(status == 0, f"{run} ended with {status}; see {place.folder / run}.log")
        place.check_end(run)
    return {"faults": faults, "runs": runs, "starts": starts}


def failpoints(kind=""):
    """The places that SLUICE_FAIL knows; those whose description ends with `kind`."""
    listed = subprocess.run([BINARY, "doctor", "--failpoints"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line.endswith(kind)]


def preloaded(place, name):
    """The environment of a process with the library tests/trust/NAME.c before all others."""
    library = place.folder / f"{name}.so"
    if not library.exists():
        subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library,
                        SOURCE / f"tests/trust/{name}.c", "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}
