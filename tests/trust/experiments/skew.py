"""Actors that differ from their learner in what a batch is made of: each is refused with both values, and missed by nobody."""
import hashlib
import json
import re
import shutil
import signal
import socket
import subprocess

from .runs import BINARY, LIMIT_S, RECIPE, end_of, expect, family, kill, wait_for_rollouts

TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"


def changed(root, name, change):
    """Changes a file of every checkpoint of a run directory, and lets the manifests agree."""
    for manifest in root.glob("checkpoints/step_*/manifest.json"):
        file = manifest.parent / name
        file.write_text(change(file.read_text()))
        listed = json.loads(manifest.read_text())
        data = file.read_bytes()
        listed["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        manifest.write_text(json.dumps(listed))


def other_tokenizer(root):
    def swap(text):
        tokenizer = json.loads(text)
        vocabulary = tokenizer["model"]["vocab"]
        if isinstance(vocabulary, list):
            vocabulary[-1], vocabulary[-2] = vocabulary[-2], vocabulary[-1]
        else:
            (a, i), (b, j) = sorted(vocabulary.items(), key=lambda entry: entry[1])[-2:]
            vocabulary[a], vocabulary[b] = j, i
        return json.dumps(tokenizer)
    changed(root, "hf/tokenizer.json", swap)


def other_template(root):
    changed(root, "hf/chat_template.jinja", lambda text: text + "\n")


def other_model(root):
    changed(root, "hf/config.json", lambda text: json.dumps({**json.loads(text), "rope_theta": 5000.0}))


def other_rewards(root):
    file = root / "recipe.resolved.json"
    recipe = json.loads(file.read_text())
    recipe["stages"][-1]["rewards"][0]["weight"] = 2.0
    file.write_text(json.dumps(recipe))


def other_run(root):
    file = root / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "id": "0123456789abcdef"}))


KINDS = {"chat template": other_template, "reward configuration": other_rewards, "tokenizer": other_tokenizer,
         "model": other_model, "run": other_run}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def skew(place, count, random_):
    """Another chat template, rewards, tokenizer, model, or run: a copy of the run's own directory with one change."""
    model = place.folder / "model"
    shutil.copytree(place.root(place.undisturbed_run()) / "checkpoints/step_000006/hf", model)
    (model / "chat_template.jinja").write_text(TEMPLATE)
    lines = [line for line in RECIPE.splitlines(keepends=True) if not line.startswith(("model =", "tokenizer ="))]
    lines.insert(1, f'model = {{ path = "{model}" }}\n')
    (place.folder / "skew.toml").write_text("".join(lines))
    overrides = ("skew.toml", f"rollout.address=tcp://127.0.0.1:{free_port()}")
    kinds = list(KINDS)[:count]
    run = "skew"
    process = place.start(run, overrides=overrides)
    wait_for_rollouts(place, run, process, 2)
    actors = family(process, "actor")
    for pid in actors:  # so that the learner waits
        kill(pid, signal.SIGSTOP)
    for kind in kinds:
        copy = place.folder / "copies" / run
        shutil.copytree(place.root(run), copy, symlinks=True, ignore=shutil.ignore_patterns("spool", "lock", ".tmp-*"))
        KINDS[kind](copy)
        done = subprocess.run([BINARY, "actor", copy, "--stage", "grpo", "--index", "9"], capture_output=True, text=True,
                              timeout=LIMIT_S)
        said = re.search(f"the {kind} differs: the learner has (\\w+), the actor has (\\w+);", done.stderr)
        expect(done.returncode == 1 and said and said[1] != said[2],
               f"an actor with another {kind} ended with {done.returncode}: {done.stderr}")
        expect(process.poll() is None, f"{run} ended before its wrong actors were there")
        shutil.rmtree(copy)
    for pid in actors:
        kill(pid, signal.SIGCONT)
    expect(end_of(process, run) == 0, f"{run} ended with {process.returncode}; see its log")
    expect(place.log(run).count("was refused") == len(kinds), f"{run} has not named whom it refused")
    place.check_end(run, overrides=overrides)
    return {"refused": len(kinds)}
