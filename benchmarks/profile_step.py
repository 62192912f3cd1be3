"""Where a training step's time goes: `python -m benchmarks.profile_step [--network sndcgan-32]`.

Profiles the plain loop of `benchmarks.training` and ours, and adds up each operator's own time by
kind. What is left of the wall-clock time is Python, the autograd engine and idling. The profiler
itself slows small steps down; compare shares, and take times from the other benchmarks.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.training import METHODS, NETWORKS, OPTIONS, Images, Ours, Plain, Row, timed
from gan_bench import config as configs
from gan_bench.registry import DATASETS

KINDS = {
    "convolutions": ("conv", "mkldnn_reorder"),
    "matrix products": ("addmm", "bmm", "aten::mm", "aten::linear"),
    "spectral norm, divisions": (
        "aten::mv",
        "addmv",
        "vdot",
        "aten::dot",
        "outer",
        "aten::ger",
        "aten::div",
    ),
    "normalization": ("batch_norm", "group_norm", "layer_norm"),
    "activations": ("relu", "tanh", "sigmoid", "softplus", "threshold", "where"),
    "Adam": ("adam", "foreach", "addcmul", "addcdiv", "Optimizer", "sqrt", "lerp"),
    "random numbers": ("uniform", "normal_", "rand"),
    "copies and fills": ("copy", "fill", "zero", "cat", "stack", "clone", "index"),
}
"""Kind -> parts of operators' names, tried in this order."""


def kind_of(name: str) -> str:
    """Return the kind of an operator."""
    for kind, parts in KINDS.items():
        if any(part in name for part in parts):
            return kind
    return "other operators"


def shares(call: Callable[[], Any], device: torch.device) -> tuple[float, dict[str, float]]:
    """Return the seconds of a call, and the share of each kind, the largest first."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    call()
    with profile(activities=activities) as found:
        seconds = timed(call, device)
    kinds: dict[str, float] = {}
    for event in found.key_averages():
        own = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        kind = kind_of(event.key)
        kinds[kind] = kinds.get(kind, 0.0) + own / 1e6 / seconds
    kinds["Python and the rest"] = max(0.0, 1 - sum(kinds.values()))
    return seconds, dict(sorted(kinds.items(), key=lambda pair: -pair[1]))


def main() -> None:
    """Profile what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=[*NETWORKS, "digits"], default="sndcgan-32")
    parser.add_argument("--method", choices=METHODS, default="spectral_norm")
    parser.add_argument("--n-disc", type=int, default=1)
    parser.add_argument("--option", choices=OPTIONS, default="bf16 channels_last")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    device = torch.device(given.device)
    if given.network == "digits":
        config = ours = configs.compose([f"training.n_disc={given.n_disc}", *METHODS[given.method]])
        dataset: Any = DATASETS.from_config(config.dataset)
    else:
        row = Row(given.network, given.method, given.n_disc, 1.0, 64)
        config, ours, dataset = row.config(), row.config(given.option), Images(row.side)
    loops = {"plain loop": Plain(config, dataset, device), "ours": Ours(ours, dataset, device)}
    for name, loop in loops.items():
        loop.advance(2)
        seconds, kinds = shares(lambda loop=loop: loop.advance(given.steps), device)
        print(f"{name}: {1000 * seconds / given.steps:.1f} ms a step under the profiler")
        for kind, share in kinds.items():
            print(f"  {kind:<22} {share:6.1%}")


if __name__ == "__main__":
    main()
