"""Redis under a run is stopped, flushed, filled, frozen and started again: the run does not notice, and Redis shows it again."""
import contextlib
import json
import shutil
import signal
import statistics
import subprocess
import time
from pathlib import Path

from .network import num_steps, seconds_to_next_step
from .runs import LIMIT_S, end_of, expect, family, kill, wait_for_rollouts

STEPS = ("grpo.steps=240",)  # seconds: so that there is time to be gone and back
LAW = ("trained", "queued", "leased", "dropped", "quarantined")
BACK_S = 5  # the monitor looks for a server that is gone every two seconds


def ask(socket, *words):
    """The lines of the answer, as redis-cli prints it."""
    done = subprocess.run(["redis-cli", "-s", str(socket), *words], capture_output=True, text=True, timeout=LIMIT_S)
    return done.stdout.splitlines()


class Server:
    """A redis-server of somebody's own."""

    def __init__(self, socket):
        self._process = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", socket, "--save", "",
                                          "--appendonly", "no"], stdout=subprocess.DEVNULL)
        self.pid = self._process.pid
        deadline = time.monotonic() + 10
        while ask(socket, "ping") != ["PONG"]:
            expect(self._process.poll() is None and time.monotonic() < deadline, "redis-server does not begin")
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()


def state(socket, run):
    lines = ask(socket, "hgetall", f"sluice:{{{run}}}:state")
    return dict(zip(lines[::2], lines[1::2]))


def seconds_to_be_shown(socket, run, steps, process):
    """Until Redis shows the run after so many steps or later; a run that has ended shows nothing more."""
    began = time.monotonic()
    while process.poll() is None:
        shown = state(socket, run)
        if int(shown.get("step", -1)) >= steps and "issued" in shown:
            expect(int(shown["issued"]) == sum(int(shown[key]) for key in LAW), f"the law in Redis is {shown}")
            break
        expect(time.monotonic() - began < BACK_S, f"Redis does not show step {steps} of {run} after {BACK_S} s")
        time.sleep(0.02)
    return time.monotonic() - began


def check_end_shown(place, run, socket):
    """After the end nothing is queued or in a batch any more, and the last step is there."""
    steps = num_steps(place, run)
    shown = state(socket, run)
    expect(shown.get("step") == str(steps), f"Redis shows step {shown.get('step')} of {run}, which made {steps}")
    expect(ask(socket, "xlen", f"sluice:{{{run}}}:rollouts") == ["0"], f"rollouts of {run} are left in Redis")
    _, *last = ask(socket, "xrevrange", f"sluice:{{{run}}}:metrics", "+", "-", "count", "1")
    fields = dict(zip(last[::2], last[1::2]))
    expect(fields.get("step") == str(steps), f"the last metrics of {run} in Redis are of step {fields.get('step')}")


def private_server(run, process):
    for pid in family(process):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as name:
            if name.read() == "redis-server\n":
                return pid
    raise AssertionError(f"{run} has no redis-server")


def wait_for_end(pid):
    """Of a process that may be another's child."""
    deadline = time.monotonic() + LIMIT_S
    with contextlib.suppress(OSError):
        while (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
            expect(time.monotonic() < deadline, f"process {pid} does not end")
            time.sleep(0.01)


def step_ms(place, run):
    """The median of its GRPO steps."""
    lines = map(json.loads, (place.root(run) / "metrics.jsonl").read_text().splitlines())
    return round(1000 * statistics.median(line["step_time"] for line in lines if line["stage"] == "grpo"), 1)


def disturb(place, run, process, kind, socket, pid, servers):
    """Does it to the server `pid`; how long it takes from its return until Redis shows the run again."""
    if kind == "flush":
        ask(socket, "flushall")
    elif kind == "full":
        ask(socket, "config", "set", "maxmemory", "1")
        time.sleep(1)
        ask(socket, "config", "set", "maxmemory", "0")
    elif kind == "freeze":
        kill(pid, signal.SIGSTOP)
        time.sleep(1)
        kill(pid, signal.SIGCONT)
    else:
        kill(pid, signal.SIGTERM)
        wait_for_end(pid)  # it removes its socket as the last thing
        seconds_to_next_step(place, run, process)
        if kind == "stop":
            return 0.0
        servers.enter_context(Server(socket))
    return seconds_to_be_shown(socket, run, num_steps(place, run), process)


SAID = {"restart": (" is gone (", " is back"), "freeze": (" is gone (", " is back"), "stop": (" is gone (",),
        "flush": ("had lost the keys of this run",), "full": (" is full (", " is back")}


def redis(place, count, random_):
    """Started again, flushed, filled, frozen, stopped: a server of somebody's own, and the one of the run."""
    for tool in ("redis-server", "redis-cli"):
        if shutil.which(tool) is None:
            return {"skipped": f"there is no {tool}: install the Debian packages redis-server and redis-tools"}
    faults = [(kind, own) for own in (True, False) for kind in SAID]
    alone = step_ms(place, place.undisturbed_run(STEPS))
    times, backs = [], []
    for number in range(count):
        kind, own = faults[number % len(faults)]
        run = f"redis-{number}-{kind}-{'own' if own else 'private'}"
        with contextlib.ExitStack() as servers:
            if own:
                socket = place.folder / f"{run}.sock"
                server = servers.enter_context(Server(socket)).pid
                process = place.start(run, overrides=(*STEPS, f"monitor.redis=unix://{socket}"))
                wait_for_rollouts(place, run, process, random_.randint(2, 10))
            else:
                socket = place.root(run) / "redis.sock"
                process = place.start(run, overrides=(*STEPS, "monitor.redis=private"))
                wait_for_rollouts(place, run, process, random_.randint(2, 10))
                server = private_server(run, process)
            backs.append(disturb(place, run, process, kind, socket, server, servers))
            status = end_of(process, run)
            expect(status == 0, f"{run} ended with {status}; see its log")
            if own and kind != "stop":
                check_end_shown(place, run, socket)
        for words in SAID[kind]:
            expect(words in place.log(run), f"the log of {run} does not say that Redis {words}")
        place.check_end(run, overrides=STEPS)
        times.append(step_ms(place, run))
    return {"faults": count, "back_s": round(max(backs), 1), "step_ms_without": alone,
            "step_ms_with": round(statistics.median(times), 1)}
