"""A study of 24 digits trials, packed, one by one, one per core: `python -m benchmarks.packing`.

Each way is a whole `gan-bench sweep` of the same study in a process of its own, start-up,
evaluation and report included. The ways alternate, so that what else the machine does hits all of
them. For every size of the networks it prints trials per minute, ratios with their spread over the
rounds, and how far the packed trials' figures are from those of the same trials alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gan_bench import files

_STUDY = """
name: packing
objective: {{metric: fid_digits_cnn}}
base:
  - dataset=digits
  - architecture=mlp
  - architecture.hidden={hidden}
  - training.steps={steps}
  - evaluator.metrics=[fid]
  - evaluator.n_fake=1000
cells:
  loss:
    non_saturating: []
    wasserstein: [loss=wasserstein, regularizer=gradient_penalty]
settings:
  grid: {{optimizer.lr: [1e-4, 2e-4, 5e-4, 1e-3], optimizer.beta1: [0.0, 0.5, 0.9]}}
"""
_CORES = len(os.sched_getaffinity(0))
WAYS = {
    "one at a time": ["engine=inline"],
    "one per core": ["engine=local", f"engine.slots={_CORES}", "engine.threads=1"],
    "packed": [
        "engine=local", f"engine.slots={_CORES}", "engine.threads=1",
        "engine.trials_per_device=12",
    ],
}  # fmt: skip


def sweep(study: Path, folder: Path, options: list[str]) -> float:
    """Run a study and return the seconds it took."""
    started = time.perf_counter()
    subprocess.run(
        [
            sys.executable,
            "-m",
            "gan_bench",
            "sweep",
            f"study={study}",
            f"study_dir={folder}",
            *options,
        ],
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - started


def figures(folder: Path) -> dict[str, float]:
    """Return trial -> FID."""
    events = files.read_jsonl(folder / "trials.jsonl")
    return {e["trial_id"]: e["objective"] for e in events if e["event"] == "finished"}


def measure(hidden: int, steps: int, rounds: int) -> None:
    """Time all ways in alternation and print what they came to."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        study = Path(temporary) / "packing.yaml"
        study.write_text(_STUDY.format(hidden=hidden, steps=steps))
        for i in range(rounds):
            for way, options in WAYS.items():
                folder = Path(temporary) / f"{way.replace(' ', '_')}_{i}"
                seconds[way].append(sweep(study, folder, options))
                found[way] = figures(folder)
    trials = len(found["packed"])
    print(f"hidden={hidden}, {trials} trials of {steps} steps, {rounds} rounds, {_CORES} cores")
    for way, taken in seconds.items():
        ratios = [naive / own for naive, own in zip(seconds["one at a time"], taken, strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(
            f"  {way:<14} {60 * trials / statistics.median(taken):6.1f} trials a minute, "
            f"{statistics.median(ratios):5.2f} x ({spread})"
        )
    off = [
        abs(value - found["one per core"][trial]) / found["one per core"][trial]
        for trial, value in found["packed"].items()
    ]
    print(
        f"  FID packed against alone: median {statistics.median(off):.1e}, largest {max(off):.1e}"
    )
    sys.stdout.flush()


def main() -> None:
    """Measure the sizes asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, nargs="+", default=[256, 64])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    for hidden in given.hidden:
        measure(hidden, given.steps, given.rounds)


if __name__ == "__main__":
    main()
