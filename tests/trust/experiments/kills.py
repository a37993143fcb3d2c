"""Processes that are killed, or stand still for a while."""
import signal
import time

from .runs import (LIMIT_S, disturbed_runs, end_of, expect, failpoints, family, kill, preloaded, wait_for_checkpoints,
                   wait_for_rollouts)


def kill_actor(place, count, random_):
    def disturb(run, number):
        process = place.start(run)
        deadline = time.monotonic() + LIMIT_S
        killed = 0
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(random_.uniform(0.2, 0.6))
            actors = family(process, "actor")
            # An actor may die four times within a minute before its run is given up.
            if actors and killed < 4 and number + killed < count:
                kill(random_.choice(actors))
                killed += 1
        expect(process.poll() == 0, f"{run}: exit {process.poll()} after {killed} actors were killed; see its log")
        return killed

    return disturbed_runs(place, "kill_actor", count, disturb)


def kill_learner(place, count, random_):
    """At failpoints, all of them where there are enough kills, and whenever."""
    of_ranks = failpoints("(ranks)")  # the learner is alone
    points = [point for point in failpoints() if point not in of_ranks]
    random_.shuffle(points)
    reached = set()

    def disturb(run, number):
        if number < max(len(points), count // 2):
            point = points[number % len(points)]
            # A whole run comes to the end of a stage twice, to checkpoints six times, to other places at each step.
            often = {"stage": 2, "checkpoint": 3}.get(point.split(".")[0], 9)
            process = place.start(run, environment={"SLUICE_FAIL": f"{point}:{random_.randint(1, often)}:kill"})
            status = end_of(process, run)
            # A killed actor is replaced, which the log says; a learner ends the run. One that was nearly done may not
            # come to the place again, and then nothing was killed.
            killed = status != 0 or "ended (killed by SIGKILL)" in place.log(run)
            if killed:
                reached.add(point)
            return int(killed)
        process = place.start(run)
        time.sleep(random_.uniform(0.1, 3.0))
        learners = family(process, "learner")
        for learner in learners:
            kill(learner)
        end_of(process, run)
        return int(bool(learners))

    counts = disturbed_runs(place, "kill_learner", count, disturb)
    expect(reached, "no failpoint was reached")
    return {**counts, "failpoints_reached": len(reached)}


def kill_all(place, count, random_):
    """The whole family at once, and what was not synced is gone."""
    environment = preloaded(place, "lose_unsynced")

    def disturb(run, number):
        process = place.start(run, environment=environment)
        time.sleep(random_.uniform(0.3, 3.0))
        alive = process.poll() is None
        for pid in [process.pid, *family(process)]:
            kill(pid)
        end_of(process, run)
        return int(alive)

    return disturbed_runs(place, "kill_all", count, disturb)


def kill_while_saving(place, count, random_):
    """A checkpoint every step, killed at some moment behind one of them; every one that has its name is whole."""
    overrides = ("checkpoint.every=1", "checkpoint.keep_last=2")

    def disturb(run, number):
        process = place.start(run, overrides=overrides)
        wait_for_checkpoints(place, run, process, random_.randint(1, 5))
        time.sleep(random_.uniform(0.0, 0.3))
        kill(process.pid)
        status = end_of(process, run)
        expect(status in (0, -signal.SIGKILL), f"{run} ended with {status} by itself; see its log")
        return int(status != 0)

    faults = runs = whole = 0
    while faults < count:
        run = f"kill_while_saving-{runs}"
        runs += 1
        while faults < count and not place.done(run):
            faults += disturb(run, faults)
            whole += len(place.audit(run).get("checkpoints", []))
        expect(place.finish(run, overrides=overrides) == 0, f"{run} does not go on; see its log")
        place.check_end(run)
    expect(whole > 0, "no checkpoint was there to be looked at")
    return {"faults": faults, "runs": runs, "checkpoints_whole": whole, "unloadable": 0}


def freeze(place, count, random_):
    """SIGSTOP of one role for a while: then it goes on, as if nothing had been."""
    seconds = 20 if count > 3 else 2
    frozen = 0
    for number in range(count):
        run = f"freeze-{number}"
        role = ["learner", "actor"][number % 2]
        process = place.start(run)
        wait_for_rollouts(place, run, process, random_.randint(1, 8))
        for pid in family(process, role)[:1]:
            kill(pid, signal.SIGSTOP)
            time.sleep(seconds)
            kill(pid, signal.SIGCONT)
            frozen += 1
        expect(end_of(process, run) == 0, f"{run} ended with {process.returncode} after its {role} was frozen")
        place.check_end(run)
    expect(frozen > 0, "no process was there to be frozen")
    return {"frozen": frozen, "frozen_seconds": seconds}


def silence(place, count, random_):
    """A learner that stands still for good: the run ends by itself and says why, and goes on when it is told to."""
    longest = 0.0
    for number in range(count):
        run = f"silence-{number}"
        process = place.start(run)
        wait_for_rollouts(place, run, process, random_.randint(1, 8))
        stopped_at = time.monotonic()
        for pid in family(process, "learner"):
            kill(pid, signal.SIGSTOP)
        expect(end_of(process, run) != 0, f"{run} ended well with a learner that stood still")
        longest = max(longest, time.monotonic() - stopped_at)
        expect("learner-0 has given no sign of life for" in place.log(run), f"{run} ended and did not say why")
        expect(place.finish(run) == 0, f"{run} does not go on; see its log")
        place.check_end(run)
    return {"silent": count, "longest_seconds": round(longest, 1)}
