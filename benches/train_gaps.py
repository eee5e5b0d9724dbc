"""Paired gaps of validation losses to bf16, over seeds: what README's table of recipes says.

    for seed in 0 1 2 3 4; do
        quarter train --recipe bf16,delayed,... --steps 500 --seed $seed --out gaps/$seed
    done
    python benches/train_gaps.py gaps/*

A gap is 100 (loss / loss of bf16 - 1) of the last validation, with the same seed. The upper limit is
that of a one-sided 95 % interval by Student's t.
"""

import json
import math
import sys

# Student's t at 95 %, one-sided, by degrees of freedom.
T95 = [None, 6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833]


def last_losses(folder):
    """The last validation loss of each recipe, in the order in which they occur."""
    losses = {}
    with open(f"{folder}/metrics.jsonl") as lines:
        for line in lines:
            record = json.loads(line)
            if record["val_loss"] is not None:
                losses[record["recipe"]] = (record["step"], record["val_loss"])
    steps = {step for step, _ in losses.values()}
    assert len(steps) == 1, f"{folder}: recipes end at steps {steps}"
    return {recipe: loss for recipe, (_, loss) in losses.items()}


def main():
    runs = [last_losses(folder) for folder in sys.argv[1:]]
    print("| recipe | " + " | ".join(f"seed {i}" for i in range(len(runs))) + " | mean | standard error | upper 95 % |")
    print("|---|" + "---|" * (len(runs) + 3))
    for recipe in runs[0]:
        if recipe == "bf16":
            continue
        gaps = [100 * (run[recipe] / run["bf16"] - 1) for run in runs]
        mean = sum(gaps) / len(gaps)
        spread = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / max(len(gaps) - 1, 1))
        error = spread / math.sqrt(len(gaps))
        limit = mean + T95[len(gaps) - 1] * error if len(gaps) > 1 else math.nan
        cells = [f"{x:+.3f}" for x in [*gaps, mean]] + [f"{error:.3f}", f"{limit:+.3f}"]
        print(f"| `{recipe}` | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
