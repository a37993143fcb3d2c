"""Networks that lose, cut and damage what actors and learner send each other."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

from .runs import SOURCE, LIMIT_S, end_of, expect, wait_for_rollouts

PORT, PROXY = 7777, 7778  # in a network of the run's own, where nobody else listens
OVERRIDES = (f"rollout.address=tcp://127.0.0.1:{PORT}",)
RECOVERY_S = 10


class Network:
    """A network namespace that is the run's alone, with nothing but its loopback."""

    def __init__(self):
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.prefix = ("nsenter", "--target", str(self._holder.pid), "--net")

    def __enter__(self):
        ours = os.readlink("/proc/self/ns/net")
        deadline = time.monotonic() + 5
        while os.readlink(f"/proc/{self._holder.pid}/ns/net") == ours:
            expect(self._holder.poll() is None and time.monotonic() < deadline, "there is no network namespace")
            time.sleep(0.01)
        self.run("ip", "link", "set", "lo", "up")
        return self

    def __exit__(self, *_):
        self._holder.kill()
        self._holder.wait()

    def run(self, *command, text=None):
        done = subprocess.run([*self.prefix, *command], input=text, capture_output=True, text=True)
        expect(done.returncode == 0, f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def rules(self, protocols, text):
        self.run("nft", "-f", "-", text=f"table {protocols} faults {{\n{text}\n}}\n")

    def drop(self, *which):
        """Packets of the port from now on: `which` are matches, such as "tcp dport 7777"."""
        rules = "".join(f"{match} counter drop\n" for match in which)
        self.rules("inet", f"chain arriving {{\ntype filter hook input priority 0\n{rules}}}")

    def heal(self):
        """How many packets were dropped."""
        chain = json.loads(self.run("nft", "--json", "list", "table", "inet", "faults"))["nftables"]
        self.run("nft", "delete", "table", "inet", "faults")
        return sum(part["counter"]["packets"] for entry in chain if "rule" in entry
                   for part in entry["rule"]["expr"] if "counter" in part)

    @contextlib.contextmanager
    def flips(self, every, heads, seed):
        """All connections to the port go through a proxy that flips bytes; what it did is put into what is yielded."""
        proxy = subprocess.Popen([*self.prefix, sys.executable, SOURCE / "tests/trust/fault_proxy.py", str(PROXY),
                                  str(PORT), str(every), str(heads), str(seed)], stdout=subprocess.PIPE, text=True)
        expect(proxy.stdout.readline() == "ready\n", "the proxy does not begin")
        self.rules("ip", "chain leaving {\ntype nat hook output priority -100\n"
                         f"tcp dport {PORT} meta mark != 1 redirect to :{PROXY}\n}}")
        told = {}
        try:
            yield told
        finally:
            proxy.send_signal(signal.SIGTERM)
            told.update(json.loads(proxy.communicate(timeout=LIMIT_S)[0]))
            self.run("nft", "delete", "table", "ip", "faults")


def num_steps(place, run):
    file = place.root(run) / "metrics.jsonl"
    return file.read_text().count("\n") if file.exists() else 0


def seconds_to_next_step(place, run, process):
    """From now on; the end of the run is as good."""
    began, steps = time.monotonic(), num_steps(place, run)
    while num_steps(place, run) == steps and process.poll() is None:
        expect(time.monotonic() - began < LIMIT_S, f"{run} makes no step any more")
        time.sleep(0.02)
    return time.monotonic() - began


def cut(place, run, network, process, matches, seconds):
    """No packet that matches arrives for so long; how many, and how long the next step takes after that."""
    before = num_steps(place, run)
    network.drop(*matches)
    time.sleep(seconds)
    dropped = network.heal()
    made = num_steps(place, run) - before
    recovery = seconds_to_next_step(place, run, process)
    expect(recovery <= RECOVERY_S, f"{run} took {recovery:.1f} s to its next step after the network was there again")
    return dropped, made, recovery


TO_LEARNER, TO_ACTOR = f"tcp dport {PORT}", f"tcp sport {PORT}"
LOSSY = tuple(f"{match} numgen random mod 100 < 20" for match in (TO_LEARNER, TO_ACTOR))


def network(place, count, random_):
    """In turn: a fifth of all packets lost, none at all for a while, one direction alone for a while, flipped bytes."""
    if os.geteuid() != 0:
        return {"skipped": "only root makes a network namespace"}
    for tool, package in (("unshare", "util-linux"), ("nsenter", "util-linux"), ("ip", "iproute2"), ("nft", "nftables")):
        if shutil.which(tool) is None:
            return {"skipped": f"there is no {tool}: install the Debian package {package}"}
    probe = subprocess.run(["unshare", "--net", "sh", "-c", "ip link set lo up && nft add table inet faults"],
                           capture_output=True, text=True)
    if probe.returncode != 0:
        return {"skipped": f"this machine gives no network of one's own: {probe.stderr.strip()}"}
    seconds = 10 if count > 4 else 2
    kinds = ["cut", "loss", "half_open", "flips", "heads"]
    counts = {"faults": 0, "cut_seconds": seconds, "dropped": 0, "recovery_s": 0.0, "flipped": 0,
              "rejected": 0, "connections": 0, "slowest_step_s": 0.0}
    for number in range(count):
        kind = kinds[number % len(kinds)]
        run = f"network-{number}-{kind}"
        with Network() as net, contextlib.ExitStack() as until_its_end:
            if kind == "loss":
                net.drop(*LOSSY)
            if kind in ("flips", "heads"):
                every, heads = (100_000, 0) if kind == "flips" else (0, 100)
                told = until_its_end.enter_context(net.flips(every, heads, random_.randrange(1 << 30)))
            process = place.start(run, overrides=OVERRIDES, prefix=net.prefix)
            if kind in ("cut", "half_open"):
                wait_for_rollouts(place, run, process, random_.randint(1, 12))
                half = ((TO_LEARNER,), (TO_ACTOR,))[number // len(kinds) % 2]
                matches = (TO_LEARNER, TO_ACTOR) if kind == "cut" else half
                dropped, _, recovery = cut(place, run, net, process, matches, seconds)
                counts["dropped"] += dropped
                counts["recovery_s"] = round(max(counts["recovery_s"], recovery), 1)
            status = end_of(process, run)
            if kind == "loss":
                counts["dropped"] += net.heal()
        expect(status == 0, f"{run} ended with {status}; see its log")
        expect("starting another" not in place.log(run), f"an actor of {run} died of the network; see the log")
        place.check_end(run)
        counts["faults"] += 1
        if kind in ("flips", "heads"):
            counts["flipped"] += told["flips"]
            counts["connections"] += told["connections"]
            lines = [json.loads(line) for line in (place.root(run) / "metrics.jsonl").read_text().splitlines()]
            counts["rejected"] += int(lines[-1]["queue/rejected"])
            slowest = max(line["step_time"] for line in lines)
            expect(slowest <= 2 * RECOVERY_S, f"{run} took {slowest} s for a step; see its log")
            counts["slowest_step_s"] = round(max(counts["slowest_step_s"], slowest), 1)
    return counts
