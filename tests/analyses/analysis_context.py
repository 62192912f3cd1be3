"""A context around any generator, without a run."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan_bench import config as configs
from gan_bench.analyses import AnalysisContext
from gan_bench.data.splits import SplitDataset, TensorSplit

CPU = torch.device("cpu")


def context_of(
    generator: nn.Module, image_shape: tuple[int, int, int], *overrides: str, seed: int = 0
) -> AnalysisContext:
    """Real images are noise; torch's global state is the seed's, as `analyze_run` has it."""
    rng = torch.Generator().manual_seed(99)
    pixels = torch.randint(256, (40, *image_shape), dtype=torch.uint8, generator=rng)
    splits = {name: lambda: TensorSplit(pixels) for name in ("train", "test")}
    dataset = SplitDataset("noise", image_shape, None, splits, stamp=lambda _: "noise")
    torch.manual_seed(seed)
    frozen = generator.eval().requires_grad_(False)
    return AnalysisContext(frozen, configs.compose(overrides), dataset, CPU, seed)


class Mapped(nn.Module):
    """A generator that is any function of the latents."""

    def __init__(self, function, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.function, self.image_shape = function, image_shape

    def forward(self, latents: Tensor) -> Tensor:
        return self.function(latents).reshape(-1, *self.image_shape)
