"""The training step beside a plain PyTorch loop: `python -m benchmarks.training`.

The same networks, batch, updates and random draws on the same machine, in alternation, in one run.
The plain loop is a careful one in the style of the public tutorials: the framework's own spectral
norm and Adam, separate backward passes for real and generated images, no autocast, default memory
format. Like ours it draws new latents for each update (the DCGAN tutorial reuses D's fakes for G,
another algorithm). Before anything is timed, the losses of both are compared.

Each row gives how many times faster ours is (median and spread over the rounds), images per second,
and the share of the machine's matrix rate: the operations that a step needs at least, counted, over
what a large matrix product reaches in the same time. `--memory` measures the peak of each loop in a
process of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from gan_bench import config as configs
from gan_bench.config import Config
from gan_bench.normalizers import NoNormalizer
from gan_bench.registry import ARCHITECTURES
from gan_bench.sweep.arithmetic import flops_of
from gan_bench.training.trainer import Trainer

METHODS = {
    "none": [],
    "spectral_norm": ["normalizer=spectral_norm"],
    "gradient_penalty": ["regularizer=gradient_penalty"],
}
NETWORKS = {
    "sndcgan-32": ("sndcgan", 32), "resnet_cifar-32": ("resnet_cifar", 32),
    "dcgan-64": ("dcgan", 64), "sndcgan-128": ("sndcgan", 128), "resnet19-128": ("resnet19", 128),
}  # fmt: skip
OPTIONS = {
    "float32": ["training.channels_last=false"],
    "float32 channels_last": ["training.channels_last=true"],
    "bf16 channels_last": ["training.channels_last=true", "training.precision=bf16"],
}
_IMAGES = 1024


class Pixels:
    """A split of random images, in memory."""

    in_memory = True
    labels = None

    def __init__(self, side: int) -> None:
        self.tensor = torch.randint(256, (_IMAGES, 3, side, side), dtype=torch.uint8)

    def __len__(self) -> int:
        return len(self.tensor)


class Images:
    """A data set of them."""

    name = "random"
    num_classes = None

    def __init__(self, side: int) -> None:
        self.image_shape = (3, side, side)
        self._split = Pixels(side)

    def split(self, name: str) -> Pixels:
        """Return the only one."""
        return self._split


class FrameworkSpectralNorm(NoNormalizer):
    """PyTorch's own."""

    def layer(self, layer: nn.Module) -> nn.Module:
        """Return the layer with its weight reparametrized."""
        return parametrizations.spectral_norm(layer, eps=1e-12)


class Plain:
    """A plain training loop."""

    def __init__(self, config: Config, dataset: Images, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        spectral = config.normalizer["name"] == "spectral_norm"
        chosen = {k: v for k, v in config.architecture.items() if k != "name"}
        self.generator, self.discriminator = (
            network.to(device)
            for network in ARCHITECTURES.build(
                config.architecture["name"],
                image_shape=dataset.image_shape,
                latent_dim=config.latent.dim,
                normalizer=FrameworkSpectralNorm() if spectral else "none",
                **chosen,
            )
        )
        adam = config.optimizer
        self.optimizers = [
            torch.optim.Adam(network.parameters(), lr=adam.lr, betas=(adam.beta1, adam.beta2))
            for network in (self.generator, self.discriminator)
        ]
        self.config, self.device = config, device
        self.weight = config.regularizer.get("weight")
        self.stream = Trainer(config, dataset, device).stream
        torch.manual_seed(config.seed)

    def latents(self) -> Tensor:
        """Draw a batch."""
        training = self.config.training
        return torch.rand(training.batch_size, self.config.latent.dim, device=self.device) * 2 - 1

    def advance(self, steps: int) -> tuple[float, float]:
        """Train for so many G steps; return the losses of D's and G's last updates."""
        g_optimizer, d_optimizer = self.optimizers
        for _ in range(steps):
            for _ in range(self.config.training.n_disc):
                real, _ = self.stream.next()
                fake = self.generator(self.latents()).detach()
                d_optimizer.zero_grad()
                on_real = functional.softplus(-self.discriminator(real)).mean()
                on_real.backward()
                on_fake = functional.softplus(self.discriminator(fake)).mean()
                on_fake.backward()
                if self.weight is not None:
                    self.penalty(real, fake).backward()
                d_optimizer.step()
            g_optimizer.zero_grad()
            g_loss = functional.softplus(-self.discriminator(self.generator(self.latents()))).mean()
            g_loss.backward()
            g_optimizer.step()
        return (on_real + on_fake).item(), g_loss.item()

    def penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        """As the public WGAN-GP loops compute it."""
        a = torch.rand(len(real), 1, 1, 1, device=self.device)
        points = (real + a * (fake - real)).requires_grad_(True)
        logits = self.discriminator(points)
        (gradient,) = torch.autograd.grad(
            logits, points, torch.ones_like(logits), create_graph=True, retain_graph=True
        )
        norms = (gradient.square().flatten(1).sum(1) + 1e-4).sqrt()
        return self.weight * (norms - 1).square().mean()


class Ours:
    """The trainer, with losses as `Plain` returns them."""

    def __init__(self, config: Config, dataset: Images, device: torch.device) -> None:
        self.trainer = Trainer(config, dataset, device)
        torch.manual_seed(config.seed)

    def advance(self, steps: int) -> tuple[float, float]:
        """Train for so many G steps; return the means of the losses of D's last updates and G's."""
        self.trainer.advance(self.trainer.step + steps)
        d_loss, g_loss, _, count = self.trainer.loss_sums.tolist()
        self.trainer.loss_sums.zero_()
        return d_loss / count, g_loss / count


@dataclasses.dataclass
class Row:
    """A network, a method and n_disc."""

    network: str
    method: str
    n_disc: int
    width: float
    batch: int

    def config(self, option: str = "float32") -> Config:
        """Compose its config."""
        architecture, _ = NETWORKS[self.network]
        return configs.compose(
            [
                f"architecture={architecture}",
                f"architecture.width={self.width}",
                f"training.n_disc={self.n_disc}",
                f"training.batch_size={self.batch}",
                *METHODS[self.method],
                *OPTIONS[option],
            ]
        )

    @property
    def side(self) -> int:
        """Pixels of a side."""
        return NETWORKS[self.network][1]


def wait(device: torch.device) -> None:
    """Wait until a GPU has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(call: Callable[[], Any], device: torch.device) -> float:
    """Return the seconds of a call, its work on the device included."""
    wait(device)
    started = time.perf_counter()
    call()
    wait(device)
    return time.perf_counter() - started


def matrix_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Return the operations a second of a large matrix product, the best of several."""
    n = 4096 if device.type == "cpu" else 8192
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    best = min(timed(lambda: a @ b, device) for _ in range(6))
    return 2 * n**3 / best


def measure(row: Row, device: torch.device, rounds: int, steps: int, rates: dict) -> None:
    """Time one row and print a line for each option."""
    dataset = Images(row.side)
    plain = Plain(row.config(), dataset, device)
    ours = {option: Ours(row.config(option), dataset, device) for option in OPTIONS}
    first = plain.advance(1)  # counts as warming up, as does each of ours
    found = {option: loop.advance(1) for option, loop in ours.items()}
    off = max(abs(a - b) / abs(b) for a, b in zip(found["float32"], first, strict=True))
    d_flops, g_flops = flops_of(row.config(), dataset)
    needed = row.n_disc * d_flops + g_flops
    seconds: dict[str, list[float]] = {name: [] for name in ("plain", *ours)}
    for _ in range(rounds):
        for name, loop in (("plain", plain), *ours.items()):
            seconds[name].append(timed(lambda loop=loop: loop.advance(steps), device) / steps)
    label = f"{row.network} {row.method}, n_disc {row.n_disc}"
    print(f"{label}: plain loop {statistics.median(seconds['plain']):.3f} s a G step; first losses "
          f"differ by {off:.0e}")  # fmt: skip
    for option, taken in seconds.items():
        ratios = [a / b for a, b in zip(seconds["plain"], taken, strict=True)]
        median = statistics.median(taken)
        images = row.batch * (row.n_disc + 1) / median
        rate = rates[torch.bfloat16 if "bf16" in option else torch.float32]
        print(
            f"  {option:<22} {statistics.median(ratios):5.2f} x "
            f"({min(ratios):.2f} to {max(ratios):.2f})  {images:9.0f} images/s  "
            f"{needed / median / rate:5.0%} of the matrix rate",
            flush=True,
        )


def peak(name: str, row: Row, device: torch.device) -> float:
    """Return the peak memory of a loop in MiB: of this process, or of the GPU."""
    dataset = Images(row.side)
    loop = Plain(row.config(), dataset, device) if name == "plain" else None
    (loop or Ours(row.config(name), dataset, device)).advance(2)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure the rows asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["sndcgan-32"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--n-disc", nargs="+", type=int, default=[1, 5])
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1, help="G steps of a measurement")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of time")
    parser.add_argument("--peak-of", choices=["plain", *OPTIONS], help=argparse.SUPPRESS)
    given = parser.parse_args()
    device = torch.device(given.device)
    rows = [
        Row(network, method, n_disc, given.width, given.batch)
        for network in given.networks
        for method in given.methods
        for n_disc in given.n_disc
    ]
    if given.peak_of:
        print(peak(given.peak_of, rows[0], device))
        return
    if given.memory:
        for row in rows:
            for name in ("plain", *OPTIONS):
                command = [
                    sys.executable, "-m", "benchmarks.training", "--networks", row.network,
                    "--methods", row.method, "--n-disc", str(row.n_disc), "--width", str(row.width),
                    "--batch", str(row.batch), "--device", given.device, "--peak-of", name,
                ]  # fmt: skip
                found = float(subprocess.run(command, check=True, capture_output=True).stdout)
                print(f"{row.network} {row.method} n_disc {row.n_disc} {name}: {found:.0f} MiB")
        return
    rates = {dtype: matrix_rate(dtype, device) for dtype in (torch.float32, torch.bfloat16)}
    print(
        f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}; matrix products "
        + ", ".join(
            f"{str(k).removeprefix('torch.')} {v / 1e9:.0f} GFLOP/s" for k, v in rates.items()
        )
    )
    for row in rows:
        measure(row, device, given.rounds, given.steps, rates)


if __name__ == "__main__":
    main()
