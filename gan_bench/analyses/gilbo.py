"""How much the latents tell of the images: the generative information lower bound.

Alemi & Fischer 2018, "GILBO: One Metric to Measure Them All" (arXiv 1802.04874):
GILBO = E[log e(z|x) - log p(z)] in nats for x = G(z), z ~ p, the largest that an encoder e finds; a
lower bound of the mutual information of z and x. It is infinite for an invertible G in principle;
what is found says how much of z an encoder of this size can read off the image. After
compare_gan's `metrics/gilbo.py`, with its layers and distributions: two 4 x 4 convolutions of
stride 2 (64 and 128 channels), a layer of 1024, then per latent dimension a Beta distribution
stretched to [-1, 1], Beta(1 + softplus(a - 5), 1 + softplus(b - 5)), for uniform latents and a
Gaussian N(a, softplus(b)) for normal ones.

Consistency (after the paper): z' ~ e(z|x) and x' = G(z') should be encoded as x was; the
figure is (KL(e(.|x) || e(.|x')) + KL(e(.|x') || e(.|x))) / 2, low if G can draw x. For generated
images (self), training images, and those of the evaluator's split.

Deviations: a fixed number of steps with the learning rate's cosine decay to 0, where compare_gan
trains cycles of 10,000 steps, up to 50, until a cycle no longer gains; 10,000 pairs in the
evaluation, not 10,000 batches, and no NaN counted as 0; SAME padding, for small images; the encoder
sees images in [-1, 1]; densities in float64.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import (
    AffineTransform,
    Beta,
    Distribution,
    Independent,
    Normal,
    TransformedDistribution,
    kl_divergence,
)
from torch.nn import functional

from gan_bench.analyses.base import Analysis, AnalysisContext
from gan_bench.architectures.layers import SameConv2d, halved
from gan_bench.errors import ConfigError, require
from gan_bench.registry import ANALYSES

_CONSISTENCY_IMAGES = 320
"""Five batches of 64, as compare_gan."""
_INSIDE = 1 - 2.0**-24
"""Uniform latents are kept to +-this: a Beta distribution has no density at its ends."""


@ANALYSES.register("gilbo", source="Alemi & Fischer 2018, arXiv 1802.04874; compare_gan")
class Gilbo(Analysis):
    """Lower bound of the mutual information of latents and images, by a trained encoder."""

    def __init__(
        self,
        *,
        steps: int = 10_000,
        batch_size: int = 64,
        learning_rate: float = 4e-4,
        evaluation_pairs: int = 10_000,
    ) -> None:
        """Set it up.

        Args:
            steps: Training steps of the encoder, each on fresh pairs; the cost is theirs.
            batch_size: Pairs a step.
            learning_rate: Adam's, at the start.
            evaluation_pairs: Fresh pairs that the bound is evaluated on.

        Raises:
            ConfigError: One is not positive, or there are not two evaluation pairs.
        """
        for name, value in (("steps", steps), ("batch_size", batch_size)):
            require(value >= 1, f"gilbo: {name} is {value}; use 1 or more")
        require(learning_rate > 0, f"gilbo: learning_rate is {learning_rate}; use more than 0")
        require(
            evaluation_pairs >= 2, f"gilbo: evaluation_pairs is {evaluation_pairs}; use 2 or more"
        )
        self.steps, self.batch_size = steps, batch_size
        self.learning_rate, self.evaluation_pairs = learning_rate, evaluation_pairs

    def __call__(self, context: AnalysisContext) -> dict[str, Any]:
        """Return GILBO, the standard error of its mean, and the three consistencies, in nats.

        Raises:
            ConfigError: The encoder's training diverged.
        """
        encoder = self._train(context)
        with torch.inference_mode():
            batches = context.latent_batches(self.evaluation_pairs)
            nats = torch.cat([information(encoder, context, z) for z in batches])
            if not torch.isfinite(nats).all():
                raise ConfigError("the encoder diverged; use a lower analysis.learning_rate")
            real = context.config.evaluator.split
            return {
                "gilbo": nats.mean().item(),
                "gilbo_std_error": nats.std().item() / math.sqrt(len(nats)),
                "gilbo_self_consistency": _consistency(
                    encoder, context, context.generator(context.latents(_CONSISTENCY_IMAGES))
                ),
                "gilbo_train_consistency": _consistency(
                    encoder, context, context.real("train", _CONSISTENCY_IMAGES)
                ),
                "gilbo_eval_consistency": _consistency(
                    encoder, context, context.real(real, _CONSISTENCY_IMAGES)
                ),
            }

    def _train(self, context: AnalysisContext) -> Encoder:
        encoder = Encoder(context).to(context.device)
        optimizer = torch.optim.Adam(encoder.parameters(), lr=self.learning_rate)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        for _ in range(self.steps):
            loss = -information(encoder, context, context.latents(self.batch_size)).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            decay.step()
        return encoder


class Encoder(nn.Module):
    """e(z|x): images (N, C, H, W) in [-1, 1] to N distributions of latents."""

    def __init__(self, context: AnalysisContext) -> None:
        """Build it for a run, with TensorFlow's initial weights, from the global random state."""
        super().__init__()
        channels, *sides = context.dataset.image_shape
        height, width = (halved(side, 2)[-1] for side in sides)
        self._uniform = context.config.latent.distribution == "uniform"
        self._layers = nn.Sequential(
            SameConv2d(channels, 64, 4, 2),
            nn.LeakyReLU(0.2),
            SameConv2d(64, 128, 4, 2),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(128 * height * width, 1024),
            nn.LeakyReLU(0.2),
            nn.Linear(1024, 2 * context.config.latent.dim),
        )
        for layer in self._layers:
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                assert layer.bias is not None
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Distribution:
        """Encode; the densities are float64."""
        first, second = self._layers(images).double().chunk(2, dim=1)
        if self._uniform:
            unit = Beta(
                1 + functional.softplus(first - 5),
                1 + functional.softplus(second - 5),
                validate_args=False,
            )
            each: Distribution = TransformedDistribution(
                unit, AffineTransform(-1.0, 2.0), validate_args=False
            )
        else:
            each = Normal(first, functional.softplus(second), validate_args=False)
        return Independent(each, 1, validate_args=False)


def information(encoder: Encoder, context: AnalysisContext, latents: Tensor) -> Tensor:
    """Return log e(z|G(z)) - log p(z) for latents (N, d): float64 (N,), in nats."""
    with torch.no_grad():
        images = context.generator(latents)
    z = latents.double()
    if context.config.latent.distribution == "uniform":
        z = z.clamp(-_INSIDE, _INSIDE)
        log_prior = torch.full_like(z, -math.log(2))
    else:
        log_prior = Normal(0.0, 1.0).log_prob(z)  # type: ignore[no-untyped-call]
    found: Tensor = encoder(images).log_prob(z) - log_prior.sum(dim=1)
    return found


def _consistency(encoder: Encoder, context: AnalysisContext, images: Tensor) -> float:
    """Return the mean symmetric KL divergence between the encodings of images and their redraws."""
    encoded = encoder(images)
    again = encoder(context.generator(encoded.sample().float()))
    both = kl_divergence(encoded, again) + kl_divergence(again, encoded)
    return both.mean().item() / 2
