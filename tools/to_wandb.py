#!/usr/bin/env python3
"""Sends metrics.jsonl of a run to Weights & Biases or MLflow (pip install wandb, or mlflow)."""
import argparse, json, pathlib, time


def lines(file, follow):
    with open(file, encoding="utf-8") as stream:
        while True:
            at = stream.tell()
            line = stream.readline()
            if line.endswith("\n"):
                yield json.loads(line)
            elif follow:  # half a line, or none yet
                stream.seek(at)
                time.sleep(1)
            else:
                return


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("run", type=pathlib.Path)
parser.add_argument("--project", default="sluice")
parser.add_argument("--mlflow", action="store_true")
parser.add_argument("--follow", action="store_true", help="wait for more steps, up to Ctrl-C")
args = parser.parse_args()
recipe = json.loads((args.run / "recipe.resolved.json").read_text())
if args.mlflow:
    import mlflow
    mlflow.set_experiment(args.project)
    mlflow.start_run(run_name=recipe["name"])
    mlflow.log_dict(recipe, "recipe.json")
    log = lambda metrics, step: mlflow.log_metrics({k.replace("/", "."): v for k, v in metrics.items()}, step=step)
else:
    import wandb
    run = wandb.init(project=args.project, name=recipe["name"], config=recipe)
    log = lambda metrics, step: run.log(metrics, step=step)
for line in lines(args.run / "metrics.jsonl", args.follow):
    log({k: v for k, v in line.items() if isinstance(v, (int, float)) and k not in ("schema", "step")}, line["step"])
