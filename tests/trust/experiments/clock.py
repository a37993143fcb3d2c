"""The time of day jumps by a day, forward or back, in the middle of a run and before it is resumed."""
import json

from .runs import end_of, expect, kill, preloaded, wait_for_rollouts

DAY_S = 86400


def clock(place, count, random_):
    """Tomorrow or yesterday from some step on, then a kill, and the other one for the rest of the run."""
    for number in range(count):
        run = f"clock-{number}"
        jump = place.folder / f"{run}.seconds"
        environment = {**preloaded(place, "jump_clock"), "JUMP_CLOCK_FILE": str(jump)}
        days = random_.choice([1, -1])
        process = place.start(run, environment=environment)
        jumps_at = random_.randint(1, 9)
        wait_for_rollouts(place, run, process, jumps_at)
        jump.write_text(str(days * DAY_S))
        wait_for_rollouts(place, run, process, random_.randint(jumps_at + 1, 16))
        kill(process.pid)
        end_of(process, run)
        place.audit(run)
        jump.write_text(str(-days * DAY_S))
        status = place.finish(run, environment=environment)
        expect(status == 0, f"{run} ended with {status}; see its log")
        place.check_end(run)
        lines = [json.loads(line) for line in (place.root(run) / "metrics.jsonl").read_text().splitlines()]
        expect([line["step"] for line in lines] == list(range(1, 27)), f"{run} has not each step once")
        times = [line["wall_time"] for line in lines]
        expect(max(times) - min(times) > DAY_S / 2, f"the clock of {run} has not jumped")
    return {"jumps": 2 * count, "seconds_each": DAY_S}
