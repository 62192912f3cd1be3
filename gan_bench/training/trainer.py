"""The loop: n_disc updates of D, one of G, again; and the state that makes it resumable."""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gan_bench.data.stream import BatchStream
from gan_bench.data.subset import SubsetSplit
from gan_bench.errors import CheckpointError
from gan_bench.interfaces import Dataset
from gan_bench.precision import float32_arithmetic
from gan_bench.registry import ARCHITECTURES, LOSSES, NORMALIZERS, REGULARIZERS
from gan_bench.schema import Config, OptimizerConfig
from gan_bench.training.randomness import random_state, set_random_state
from gan_bench.training.step import Game, discriminator_step, generator_step


class DivergedError(Exception):
    """A loss became NaN or infinite."""


def build_networks(config: Config, dataset: Dataset) -> tuple[nn.Module, nn.Module]:
    """Build (G, D) for a data set; initial weights come from torch's global random state."""
    return ARCHITECTURES.from_config(
        config.architecture,
        image_shape=dataset.image_shape,
        latent_dim=config.latent.dim,
        normalizer=NORMALIZERS.from_config(config.normalizer),
    )


def build_game(config: Config, dataset: Dataset, device: torch.device) -> Game:
    """Build the players and their optimizers; initial weights come from torch's random state."""
    generator, discriminator = (
        network.to(device, memory_format=_memory_format(config))  # type: ignore[call-overload]
        for network in build_networks(config, dataset)
    )
    adam = config.optimizer
    return Game(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=_adam(generator, adam, adam.lr),
        discriminator_optimizer=_adam(discriminator, adam, adam.discriminator_lr or adam.lr),
        loss=LOSSES.from_config(config.loss),
        regularizer=REGULARIZERS.from_config(config.regularizer),
        latents=lambda n: draw_latents(config, n, device),
        autocast=functools.partial(
            torch.autocast, device.type, torch.bfloat16, config.training.precision == "bf16"
        ),
    )


def _memory_format(config: Config) -> torch.memory_format:
    return torch.channels_last if config.training.channels_last else torch.contiguous_format


def draw_latents(
    config: Config, n: int, device: torch.device, generator: torch.Generator | None = None
) -> Tensor:
    """Draw latents (n, latent.dim): U[-1, 1] or N(0, 1).

    With a generator they are drawn on the CPU, so that every device gets the same ones.
    """
    where = torch.device("cpu") if generator is not None else device
    if config.latent.distribution == "normal":
        z = torch.randn(n, config.latent.dim, device=where, generator=generator)
    else:
        z = torch.rand(n, config.latent.dim, device=where, generator=generator) * 2 - 1
    return z.to(device)


@dataclass
class Progress:
    """Means since the last log line."""

    d_loss: float
    g_loss: float
    penalty: float


class Trainer:
    """A GAN in training: the players, the data stream and how far they have come.

    All randomness of training is torch's global random state and the stream's seed; both are in
    `state()`, so that a restored trainer goes on bit for bit.
    """

    def __init__(self, config: Config, dataset: Dataset, device: torch.device) -> None:
        """Build everything from the config; seeds torch's global random state.

        Raises:
            ConfigError: A part can't be built so (image size, width, option out of range).
            DataError: The training images are missing or corrupt.
        """
        torch.manual_seed(config.seed)
        training = config.training
        self.config = config
        self.device = device
        self.step = 0
        self.d_steps = 0
        self.seconds = 0.0
        self.whole = True
        """False while an update is under way, and for good if it was cut short."""
        # d_loss, g_loss, penalty and the number of steps since the last log line
        self.loss_sums = torch.zeros(4, dtype=torch.float64, device=device)
        self._format = _memory_format(config)
        self.game = build_game(config, dataset, device)
        generator = self.game.generator
        self._average = (
            AveragedModel(
                generator,
                multi_avg_fn=get_ema_multi_avg_fn(training.ema_decay),  # type: ignore[no-untyped-call]
            )
            if training.ema_decay is not None
            else None
        )
        images = dataset.split("train")
        if training.images is not None:
            images = SubsetSplit(images, training.images)
        self.stream = BatchStream(
            images, training.batch_size, config.seed, device,
            workers=training.workers,
        )  # fmt: skip

    def advance(self, until: int, stop: Callable[[], bool] = lambda: False) -> None:
        """Train up to G step `until`, or until `stop()` holds after a step."""
        started = time.perf_counter()
        with float32_arithmetic(tf32=self.config.training.precision == "tf32"):
            while self.step < until and not stop():
                self._step()
        self.seconds += time.perf_counter() - started

    def _step(self) -> None:
        """Update D n_disc times, then G."""
        training = self.config.training
        self.whole = False
        for _ in range(training.n_disc):
            d_loss, penalty = discriminator_step(self.game, self.next_images(), training.accumulate)
        g_loss = generator_step(self.game, training.batch_size, training.accumulate)
        self.loss_sums += torch.stack([d_loss, g_loss, penalty, torch.ones_like(g_loss)])
        self.count_step()

    def next_images(self) -> Tensor:
        """Return the next real batch (N, C, H, W), in [-1, 1], as the networks take it."""
        real, _ = self.stream.next()
        return real.to(memory_format=self._format) if real.dim() == 4 else real

    def count_step(self) -> None:
        """Note that both players have been updated: one G step and its D steps are done."""
        if self._average is not None:
            self._average.update_parameters(self.game.generator)
        self.step += 1
        self.d_steps += self.config.training.n_disc
        self.whole = True

    def check_finite(self) -> None:
        """Raise DivergedError if a loss since the last log line was NaN or infinite."""
        if not torch.isfinite(self.loss_sums).all():
            raise DivergedError(f"a loss became NaN or infinite at or before step {self.step}")

    def progress(self) -> Progress:
        """Return the mean losses since the last call and start anew.

        Raises:
            DivergedError: A loss was NaN or infinite.
        """
        self.check_finite()
        d_loss, g_loss, penalty, count = self.loss_sums.tolist()
        self.loss_sums.zero_()
        count = max(count, 1)
        return Progress(d_loss / count, g_loss / count, penalty / count)

    def snapshot(self) -> nn.Module:
        """Return a copy of G (its moving average where there is one) for evaluation.

        It is in evaluation mode, float32 and the default memory format, so that what is measured
        depends on neither autocast nor channels_last.
        """
        source = self.game.generator if self._average is None else self._average.module
        return frozen(copy.deepcopy(source))

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs, as tensors and plain values."""
        game = self.game
        rng, cuda_rng = random_state(self.device)
        return {
            "d_steps": self.d_steps,
            "seconds": self.seconds,
            "generator": game.generator.state_dict(),
            "discriminator": game.discriminator.state_dict(),
            "generator_optimizer": game.generator_optimizer.state_dict(),
            "discriminator_optimizer": game.discriminator_optimizer.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "sums": self.loss_sums,
            "data_position": self.stream.position,
            "rng": rng,
            "cuda_rng": cuda_rng,
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Take up the state of a checkpoint.

        Raises:
            CheckpointError: It doesn't fit the config.
        """
        game = self.game
        try:
            game.generator.load_state_dict(content["generator"])
            game.discriminator.load_state_dict(content["discriminator"])
            game.generator_optimizer.load_state_dict(content["generator_optimizer"])
            game.discriminator_optimizer.load_state_dict(content["discriminator_optimizer"])
            if self._average is not None:
                self._average.load_state_dict(content["average"])
            self.loss_sums.copy_(content["sums"])
            self.step, self.d_steps = content["step"], content["d_steps"]
            self.seconds = content["seconds"]
            self.stream.seek(content["data_position"])
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"the checkpoint does not fit the config: {str(error).splitlines()[0]}"
            ) from None
        set_random_state((content["rng"], content["cuda_rng"]), self.device)

    def close(self) -> None:
        """Stop the loader processes."""
        self.stream.close()


def frozen(generator: nn.Module) -> nn.Module:
    """Put a generator into the form in which it is evaluated."""
    generator.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return generator.float().eval().requires_grad_(False)


def generator_weights(content: dict[str, Any]) -> dict[str, Tensor]:
    """Return the weights of the generator that a checkpoint evaluates: G or its moving average."""
    average = content["average"]
    if average is None:
        weights: dict[str, Tensor] = content["generator"]
        return weights
    prefix = "module."
    return {
        name.removeprefix(prefix): value
        for name, value in average.items()
        if name.startswith(prefix)
    }


def _adam(network: nn.Module, adam: OptimizerConfig, lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), lr=lr, betas=(adam.beta1, adam.beta2), fused=True)
