"""What a study concludes does not depend on the arithmetic: float32 and bf16, five seeds each."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from gan_bench import config as configs
from gan_bench.run import prepare
from gan_bench.together import run_trials

CELLS = {
    "non_saturating": [],
    "wasserstein": ["loss=wasserstein"],
    "gradient_penalty": ["loss=wasserstein", "regularizer=gradient_penalty"],
}
SEEDS = range(5)


@pytest.mark.slow
def test_bf16_ranks_the_methods_as_float32_does(tmp_path: Path):
    values: dict[str, dict[str, list[float]]] = {}
    for precision in ("float32", "bf16"):
        runs = {
            (cell, seed): prepare(
                configs.compose([
                    *overrides, f"training.precision={precision}", f"seed={seed}", "threads=1",
                    "architecture.hidden=128", "training.steps=600", "evaluator.metrics=[fid]",
                    "evaluator.n_fake=1000", "device=cpu",
                    f"run_dir={tmp_path / precision / cell / str(seed)}",
                ])
            )
            for cell, overrides in CELLS.items()
            for seed in SEEDS
        }  # fmt: skip
        run_trials(list(runs.values()))
        values[precision] = {
            cell: [
                json.loads((runs[cell, seed] / "result.json").read_text())["metrics"][
                    "fid_digits_cnn"
                ]
                for seed in SEEDS
            ]
            for cell in CELLS
        }
    medians = {
        precision: {cell: statistics.median(found) for cell, found in cells.items()}
        for precision, cells in values.items()
    }
    print(json.dumps({"values": values, "medians": medians}, indent=1))
    order = {
        precision: sorted(found, key=found.__getitem__) for precision, found in medians.items()
    }
    assert order["bf16"] == order["float32"], "the cells rank alike"
    for cell in CELLS:
        low, high = min(values["float32"][cell]), max(values["float32"][cell])
        spread = high - low
        assert low - spread <= medians["bf16"][cell] <= high + spread
