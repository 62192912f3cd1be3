"""What turns images into features: the real Inception, a large network, a small classifier.

An extractor is named by a spec: "inception", "dinov2", "clip" or "classifier:<dataset>". Figures
taken with anything but the published Inception carry the extractor's suffix in their key, so that
they can't be mistaken for the published kind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from gan_bench.errors import ConfigError, unknown
from gan_bench.interfaces import Dataset
from gan_bench.registry import DATASETS

VISION = ("dinov2", "clip")


class Extractor(Protocol):
    """A frozen network: images in, features and logits out."""

    @property
    def name(self) -> str:
        """The spec it is built from: "inception", "classifier:digits"."""
        ...

    @property
    def suffix(self) -> str:
        """What a figure's key carries: "" only for Inception with the published weights."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of the weights, hexadecimal."""
        ...

    @property
    def feature_dim(self) -> int:
        """Number of features d."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """The only (C, H, W) that it takes, or None if it resizes."""
        ...

    @property
    def resize(self) -> str:
        """How images are resized: "bilinear_tf1_299", "bicubic_antialias_224" or "none"."""
        ...

    @property
    def precision(self) -> str:
        """The arithmetic of the network: "float32" or "bf16"."""
        ...

    @property
    def test_accuracy(self) -> float | None:
        """Share of its data set's test images it classifies rightly; None if unknown."""
        ...

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Extract.

        Args:
            images: uint8, or float32 from 0 to 255 (N, C, H, W).

        Returns:
            Features float32 (N, d) and logits float32 (N, K), on the extractor's device.
        """
        ...


def build_extractor(
    spec: str,
    *,
    weights_path: str | Path | None = None,
    device: str | torch.device = "cpu",
    dataset: Dataset | None = None,
) -> Extractor:
    """Build the extractor that a spec names.

    Args:
        spec: "inception" ("inception:bf16" in half the time, under a name of its own), or
            "dinov2", "clip", or "classifier:<dataset>" for a classifier trained on the labelled
            training split of a registered data set (and cached).
        weights_path: The weights' file; None: where torch-fidelity or timm keep or get them.
        device: Where the network runs.
        dataset: For a classifier, the data set itself (None: the registered one with its
            default options).

    Raises:
        ConfigError: The spec is unknown, or the data set has no labels.
        WeightsError: The weights are missing, corrupt or not what they claim to be.
    """
    kind, _, name = spec.partition(":")
    if spec in ("inception", "inception:bf16"):
        from gan_bench.evaluation.inception import InceptionExtractor

        return InceptionExtractor(weights_path, device=device, precision=name or "float32")
    if spec in VISION:
        from gan_bench.evaluation.vision import VisionExtractor

        return VisionExtractor(spec, weights_path, device=device)
    if kind == "classifier" and name:
        from gan_bench.evaluation.classifier import build_classifier

        if weights_path is not None:
            raise ConfigError(f"weights_path is not for {spec}, which trains its own weights")
        data = DATASETS.build(name) if dataset is None else dataset
        label = name if dataset is not None else DATASETS.canonical(name)
        return build_classifier(data, label, device=device)
    known = [
        "inception",
        "inception:bf16",
        *VISION,
        *(f"classifier:{each}" for each in DATASETS.names()),
    ]
    raise unknown("extractor", spec, known)


def chunks(rows: Tensor, size: int) -> Iterator[Tensor]:
    """Yield consecutive pieces of at most `size` rows."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def state_digest(state: dict[str, Any]) -> str:
    """Hash the names, shapes and values of a state dictionary (SHA-256)."""
    sha = hashlib.sha256()
    for key, value in sorted(state.items()):
        sha.update(f"{key}{value.dtype}{tuple(value.shape)}".encode())
        sha.update(value.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()
