"""Every oracle, one table; exits 1 when anything differs."""
import sys

import compare_models
import compare_rewards
import compare_templates
import compare_tokenizers
import make_goldens
from sluice import BINARY, GOLDENS, Report, finish


def main():
    if not BINARY.exists():
        sys.exit(f"oracle: {BINARY} is not there; run `make build`, or name another by SLUICE_BINARY")
    report = Report()
    report.count("goldens as transformers computes them", len(list(GOLDENS.glob("*/golden.json"))), make_goldens.check(GOLDENS, []))
    compare_models.compare(report)
    compare_rewards.compare(report)
    compare_tokenizers.compare(report)
    compare_templates.compare(report)
    finish(report)


if __name__ == "__main__":
    main()
