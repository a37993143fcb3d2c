"""Files that are damaged, disks that have no room, and disks that fail."""
import contextlib
import json
import os
import re
import shutil
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .runs import BINARY, LIMIT_S, RECIPE, Broken, end_of, expect, kill, preloaded


def damage_checkpoint(place, count, random_):
    """Bit flips and truncations of every file of a checkpoint: each is found, and the one before it is used."""
    name = "damaged"
    process = place.start(name)
    deadline = time.monotonic() + LIMIT_S
    # Stopped between the second checkpoint of grpo and its end.
    while not list((place.root(name) / "checkpoints").glob("step_000016")):
        expect(process.poll() is None and time.monotonic() < deadline, f"{name} came to no checkpoint; see its log")
        time.sleep(0.02)
    kill(process.pid)
    end_of(process, name)
    newest = sorted((place.root(name) / "checkpoints").glob("step_*"))[-1]
    files = [file for file in sorted(newest.rglob("*")) if file.is_file()]
    sizes = [file.stat().st_size for file in files]
    found = 0
    for _ in range(count):
        file = random_.choices(files, weights=[size + 2000 for size in sizes])[0]
        whole = file.read_bytes()
        if random_.random() < 0.2:
            file.write_bytes(whole[:random_.randrange(len(whole))])
        else:
            bit = random_.randrange(8 * len(whole))
            file.write_bytes(whole[:bit // 8] + bytes([whole[bit // 8] ^ (1 << bit % 8)]) + whole[bit // 8 + 1:])
        done = subprocess.run([BINARY, "audit", place.root(name), "--checkpoints"], capture_output=True, text=True)
        expect(done.returncode == 1 and f"{newest.name}: DAMAGED" in done.stdout,
               f"damage of {file} is not found: {done.stdout}{done.stderr}")
        found += 1
        if found == count:
            break  # the last one stays
        file.write_bytes(whole)
    expect(place.finish(name) == 0, f"{name} does not go on from the checkpoint before; see its log")
    expect("damaged checkpoint left alone" in place.log(name), "nobody named the damage")
    place.check_end(name)
    return {"damaged": count, "found": found, "fell_back": 1}


@contextlib.contextmanager
def small_disk(folder, megabytes):
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


def size_of(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def disk_full(place, count, random_):
    """A disk that has no room for all of a run is full at some moment of it; when there is room again it goes on."""
    if os.geteuid() != 0:
        return {"skipped": "only root mounts a small disk"}
    megabytes = 64
    whole = size_of(place.root(place.undisturbed_run()))
    for number in range(count):
        runs = f"small-{number}"
        with small_disk(place.folder / runs, megabytes):
            ballast = place.folder / runs / "ballast"
            ballast.write_bytes(bytes((megabytes << 20) - int(random_.uniform(0.02, 0.9) * whole)))
            status = place.finish("full", runs=runs)
            expect(status == 4, f"exit {status} on a disk that has no room for a run")
            expect("No space left on device" in place.log("full"), "nobody says that the disk is full")
            ballast.unlink()
            place.audit("full", runs)
            expect(place.finish("full", runs=runs) == 0, "there is room again, and the run does not go on")
            place.check_end("full", runs)
        (place.folder / "full.log").unlink()
    return {"disks": count, "runs_stopped": count, "megabytes_of_a_run": round(whole / 2**20, 1)}


# Few calls, so that each of them can fail, and yet a checkpoint in the middle that the next one removes.
BRIEF = ("brief.toml", "grpo.steps=2", "rollout.actors=1", "rollout.prompts_per_step=2", "rollout.group_size=4",
         "rollout.max_new_tokens=8", "checkpoint.every=1", "checkpoint.keep_last=1")
ROLES = ("run", "learner", "actor")


class FailingCalls:
    """A run in which a call of a role on the run's files fails with EIO (tests/trust/fail_io.c)."""

    def __init__(self, place, run):
        self.place, self.run = place, run
        self.state, self.log = place.folder / f"{run}.calls", place.folder / f"{run}.failed"

    def finish(self, role="run", call=0):
        """How the run ends, and the lines of what the library saw."""
        environment = {**preloaded(self.place, "fail_io"), "FAIL_IO_FOLDER": str(self.place.root(self.run)),
                       "FAIL_IO_CALL": f"{role}:{call}", "FAIL_IO_STATE": str(self.state), "FAIL_IO_LOG": str(self.log)}
        status = self.place.finish(self.run, environment=environment, overrides=BRIEF)
        return status, self.log.read_text().splitlines() if self.log.exists() else []

    def calls(self):
        """How many each role has made."""
        return dict(zip(ROLES, struct.unpack(f"{len(ROLES)}l", self.state.read_bytes())))


def check_no_torn_file(root):
    """A file that is appended to may end within a line; everything else is whole."""
    for file in root.rglob("*.json*"):
        if any(part.startswith(".tmp-") for part in file.relative_to(root).parts):
            continue
        texts = [file.read_text()]
        if file.suffix == ".jsonl":
            *texts, rest = texts[0].split("\n")
            expect(rest == "" or file.name == "metrics.jsonl", f"{file} ends within a line")
        for text in texts:
            try:
                json.loads(text)
            except ValueError as error:
                raise Broken(f"{file} is torn: {error}") from error


# What only shows a run says that it cannot, and the run goes on.
SHOWS = re.compile("the run goes on without it$|^sluice: (the run goes on naming a page that is gone|"
                   "how the run ended is not kept|no report was written): ", re.MULTILINE)


def final_name(file):
    """What a file that is written aside will be called: of ".tmp-NAME-PID-..." and of "NAME.new" it is NAME."""
    return re.sub(r"^\.tmp-(.+?)(-\d+)*$", r"\1", Path(file).name).removesuffix(".new")


def fail_one_call(place, role, n):
    """What failed, ("fsync", file), in a run that then goes on to its end; None where nobody came to that call."""
    run = f"io_errors-{role}-{n}"
    what = f"call {n} of the {role}"
    status, seen = FailingCalls(place, run).finish(role, n)
    failed = [line.split(" ", 2)[1:] for line in seen if line.startswith("failed ")]
    expect(len(failed) == len(seen), f"{what}: a file is used after its sync has failed: {seen}")
    if not failed:
        expect(status == 0, f"{what} was not reached, and the run ended with {status}; see the log of {run}")
    else:
        call, file = failed[0]
        log = place.log(run)
        # The mark of its last acknowledgement may fail an actor when the learner has ended: then nothing is missing.
        complete = (role == "actor" or SHOWS.search(log)) and status == 0
        expect(status == 4 or complete, f"{what}, {call} of {file}, failed, and {run} ended with {status}; see its log")
        expect(final_name(file) in log and "Input/output error" in log,
               f"{what}: nobody says that {file} failed; see the log of {run}")
        check_no_torn_file(place.root(run))
        place.audit(run)
        expect(place.finish(run, overrides=BRIEF) == 0, f"{run} does not go on after {call} of {file} failed")
    place.check_end(run, overrides=BRIEF)
    shutil.rmtree(place.root(run))
    return failed[0] if failed else None


def io_errors(place, count, random_):
    """EIO at the n-th call that writes, syncs, cuts or renames, for every n of each role, or for some of them."""
    head, _, grpo = RECIPE.split("[[stages]]")
    (place.folder / "brief.toml").write_text(f"{head}[[stages]]{grpo}")
    first = FailingCalls(place, "io_errors")
    status, seen = first.finish()
    expect(status == 0 and not seen, f"a run with no fault ended with {status} and {seen}")
    place.check_end("io_errors", overrides=BRIEF)
    calls = first.calls()
    faults = [(role, n) for role in ROLES for n in range(1, calls[role] + 1)]
    if count < len(faults):
        faults = random_.sample(faults, count)
    with ThreadPoolExecutor(2) as two:  # most of such a run is waiting
        try:
            failed = list(two.map(lambda fault: fail_one_call(place, *fault), faults))
        except Broken:
            two.shutdown(cancel_futures=True)
            raise
    kinds = [call for call, _ in filter(None, failed)]
    expect(kinds, "no call failed")
    # An actor syncs what has come meanwhile, so it may have some calls less than the first time.
    return {"calls": len(faults), "not_reached": failed.count(None), **{kind: kinds.count(kind) for kind in sorted(set(kinds))}}
