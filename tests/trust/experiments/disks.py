"""Files that are damaged, and disks that have no room."""
import contextlib
import os
import subprocess
import time

from .runs import BINARY, LIMIT_S, end_of, expect, kill


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


def disk_full(place, count, random_):
    """The disk fills up at some moment of a run; when there is room again it goes on."""
    if os.geteuid() != 0:
        return {"skipped": "only root mounts a small disk"}
    stopped = 0
    for number in range(count):
        runs = f"small-{number}"
        with small_disk(place.folder / runs, 64):
            process = place.start("full", runs=runs)
            time.sleep(random_.uniform(0.3, 2.5))
            ballast = place.folder / runs / "ballast"
            with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as out:
                while True:
                    out.write(b"x" * 65536)
            status = end_of(process, "a run on a full disk")
            if status != 0:
                stopped += 1
                log = place.log("full")
                expect("No space left on device" in log, f"exit {status}, and nobody says that the disk is full")
            ballast.unlink()
            if not place.done("full", runs):
                place.audit("full", runs)
                expect(place.finish("full", runs=runs) == 0, "there is room again, and the run does not go on")
            place.check_end("full", runs)
        (place.folder / "full.log").unlink()
    expect(stopped > 0, "no run was there when its disk was full")
    return {"disks": count, "runs_stopped": stopped}
