"""Carrying out an analysis of a finished run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gan_bench import files
from gan_bench.analyses.base import Analysis, AnalysisContext
from gan_bench.hardware import choose_device, cpu_threads
from gan_bench.measure import load_generator
from gan_bench.registry import ANALYSES


def analyze_run(
    run_dir: Path,
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    device: str = "auto",
    which: str = "newest",
) -> dict[str, Any]:
    """Analyze a run's checkpoint; the line is added to its analyses.jsonl.

    Args:
        run_dir: The run directory.
        name: The analysis.
        options: Its options, where they differ from the defaults.
        seed: Of all its chance.
        device: auto, cpu, cuda or cuda:N.
        which: "newest" checkpoint, or the "best" that was evaluated.

    Returns:
        The line: the analysis, the checkpoint's step, the options, the seed, the figures and the
        seconds that they took.

    Raises:
        GanBenchError: The checkpoint, data or an option can't be used, or the generator doesn't
            support the figures.
    """
    chosen = ANALYSES.normalize({"name": name, **(options or {})})
    analysis: Analysis = ANALYSES.from_config(chosen)
    where = choose_device(device)
    config, dataset, generator, step = load_generator(run_dir, where, which)
    started = time.perf_counter()
    with cpu_threads(config.threads), torch.random.fork_rng():
        torch.manual_seed(seed)
        figures = analysis(AnalysisContext(generator, config, dataset, where, seed))
    record = {
        "analysis": chosen.pop("name"),
        "step": step,
        "seed": seed,
        "options": chosen,
        "figures": figures,
        "seconds": time.perf_counter() - started,
    }
    files.append_jsonl(run_dir / "analyses.jsonl", record)
    return record
