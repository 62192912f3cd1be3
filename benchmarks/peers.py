"""mimicry's training step beside ours on mimicry's own networks: `python -m benchmarks.peers`.

Needs `pip install --no-deps torch-mimicry`. SNGAN of 32 x 32 (a residual network of Miyato et al.,
hinge loss, spectral norm, Adam), batch 64: its `train_step` of D and of G against ours, on copies
of the same modules, in alternation. Its networks keep their own spectral norm in both.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import importlib.util
import statistics
import sys
import types
from typing import Any

import torch

from benchmarks.training import timed
from gan_bench.losses import Hinge
from gan_bench.regularizers import NoRegularizer
from gan_bench.training.step import Game, discriminator_step, generator_step

_BATCH, _LATENTS = 64, 128


def mimicry_networks() -> tuple[Any, Any]:
    """Build G and D; the package's own start imports metrics that need TensorFlow."""
    spec = importlib.util.find_spec("torch_mimicry")
    if spec is None or spec.submodule_search_locations is None:
        sys.exit("torch-mimicry is missing: pip install --no-deps torch-mimicry")
    package = types.ModuleType("torch_mimicry")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["torch_mimicry"] = package
    from torch_mimicry.nets.sngan.sngan_32 import SNGANDiscriminator32, SNGANGenerator32

    torch.manual_seed(0)
    return SNGANGenerator32(), SNGANDiscriminator32()


class Log:
    """What mimicry's steps write their losses to."""

    def add_metric(self, name: str, value: Any, group: str | None = None, **_: Any) -> None:
        """Drop it."""


def theirs(networks: tuple[Any, Any], real: torch.Tensor, n_disc: int) -> Any:
    """Return a call that makes n_disc D steps and a G step of mimicry."""
    generator, discriminator = networks
    g_optimizer, d_optimizer = (
        torch.optim.Adam(network.parameters(), 2e-4, (0.0, 0.9)) for network in networks
    )
    batch, log, device = (real, torch.zeros(len(real))), Log(), torch.device("cpu")

    def step() -> None:
        for _ in range(n_disc):
            discriminator.train_step(
                real_batch=batch, netG=generator, optD=d_optimizer, log_data=log, device=device
            )
        generator.train_step(
            real_batch=batch, netD=discriminator, optG=g_optimizer, log_data=log, device=device
        )

    return step


def ours(networks: tuple[Any, Any], real: torch.Tensor, n_disc: int, *, bf16: bool) -> Any:
    """Return the same of gan_bench, in channels_last."""
    generator, discriminator = (
        network.to(memory_format=torch.channels_last) for network in networks
    )
    images = real.to(memory_format=torch.channels_last)
    g_optimizer, d_optimizer = (
        torch.optim.Adam(network.parameters(), 2e-4, (0.0, 0.9), fused=True)
        for network in (generator, discriminator)
    )
    autocast = functools.partial(torch.autocast, "cpu", torch.bfloat16)
    game = Game(
        generator, discriminator, g_optimizer, d_optimizer, Hinge(), NoRegularizer(),
        lambda n: torch.randn(n, _LATENTS), autocast if bf16 else contextlib.nullcontext,
    )  # fmt: skip

    def step() -> None:
        for _ in range(n_disc):
            discriminator_step(game, images)
        generator_step(game, _BATCH)

    return step


def main() -> None:
    """Time both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-disc", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    networks = mimicry_networks()
    real = torch.rand(_BATCH, 3, 32, 32) * 2 - 1
    for n_disc in given.n_disc:
        loops = {
            "mimicry": theirs(copy.deepcopy(networks), real, n_disc),
            "ours, float32": ours(copy.deepcopy(networks), real, n_disc, bf16=False),
            "ours, bf16": ours(copy.deepcopy(networks), real, n_disc, bf16=True),
        }
        seconds: dict[str, list[float]] = {name: [] for name in loops}
        for round_ in range(given.rounds + 1):
            for name, step in loops.items():
                taken = timed(step, torch.device("cpu"))
                seconds[name] += [taken] if round_ else []  # the first warms up
        for name, taken in seconds.items():
            ratios = [a / b for a, b in zip(seconds["mimicry"], taken, strict=True)]
            print(
                f"SNGAN-32, n_disc {n_disc}, {name:<14} {statistics.median(taken):6.2f} s  "
                f"{statistics.median(ratios):5.2f} x ({min(ratios):.2f} to {max(ratios):.2f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
