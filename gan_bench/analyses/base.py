"""What an analysis looks like, and what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gan_bench.config import Config
from gan_bench.data.pixels import to_float
from gan_bench.interfaces import Dataset
from gan_bench.training.trainer import draw_latents


@dataclass
class AnalysisContext:
    """A finished run's generator and what belongs to it.

    `latents` and `real` draw from one stream that `seed` starts, on the CPU: every device gets
    the same latents and images.
    """

    generator: nn.Module
    """In evaluation mode, frozen, on `device`: (N, latent.dim) to (N, C, H, W) in [-1, 1]."""
    config: Config
    dataset: Dataset
    device: torch.device
    seed: int

    def __post_init__(self) -> None:
        """Start the stream."""
        self._rng = torch.Generator().manual_seed(self.seed)

    def latents(self, n: int) -> Tensor:
        """Return the next n latents, float32 (n, latent.dim) on `device`."""
        return draw_latents(self.config, n, self.device, self._rng)

    def latent_batches(self, n: int) -> Iterator[Tensor]:
        """Yield the next n latents in batches of the evaluator's size; they don't depend on it."""
        latents, size = self.latents(n), self.config.evaluator.batch_size
        for start in range(0, n, size):
            yield latents[start : start + size]

    def real(self, split: str, n: int) -> Tensor:
        """Return n random images of a split, or all if it has fewer, float32 in [-1, 1].

        Raises:
            ConfigError: There is no such split.
            DataError: Its files are missing or corrupt.
        """
        images = self.dataset.split(split)
        chosen = torch.randperm(len(images), generator=self._rng)[:n]
        return to_float(images.images(chosen)).to(self.device)


class Analysis(ABC):
    """A registered analysis; its options are the keyword-only arguments of its `__init__`."""

    @abstractmethod
    def __call__(self, context: AnalysisContext) -> dict[str, Any]:
        """Return the figures, which JSON can hold.

        Chance comes from the context's stream, or from torch's global random state, which the
        context's seed has set.

        Raises:
            DataError: This generator or data set doesn't support the figure.
            ConfigError: An option doesn't suit them.
        """
