"""What metrics are computed from: one pass over the images, then pure functions of the record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan_bench.errors import DataError
from gan_bench.evaluation.features import Extractor
from gan_bench.evaluation.frechet import Gaussian
from gan_bench.evaluation.moments import Moments

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Needs:
    """What a metric wants collected."""

    moments: bool = False
    """Mean and covariance of the features of real and generated images."""
    features: bool = False
    """All features of real and generated images."""
    labels: bool = False
    """The classes of real and generated images."""
    logits: bool = False
    """All logits of generated images."""
    images: int = 0
    """So many generated images themselves (fewer if there are fewer)."""
    real_images: int = 0
    """So many real images themselves (fewer if there are fewer)."""

    def __or__(self, other: Needs) -> Needs:
        """Return what serves both."""
        return Needs(
            moments=self.moments or other.moments,
            features=self.features or other.features,
            labels=self.labels or other.labels,
            logits=self.logits or other.logits,
            images=max(self.images, other.images),
            real_images=max(self.real_images, other.real_images),
        )

    @property
    def extractor(self) -> bool:
        """Whether an extractor has to run at all."""
        return self.moments or self.features or self.logits

    @property
    def reference(self) -> bool:
        """Whether real images are needed at all."""
        return self.moments or self.features or self.labels or self.real_images > 0

    @property
    def real(self) -> Needs:
        """What is to be collected of real images."""
        return Needs(
            moments=self.moments,
            features=self.features,
            labels=self.labels,
            images=self.real_images,
        )


@dataclass(frozen=True)
class FeatureStatistics:
    """What was collected of one side's images; what no metric needs is None."""

    n: int | None
    """Number of images; None if a published statistics file doesn't say it."""
    gaussian: Gaussian | None = None
    """Mean and covariance of the features."""
    features: Array | None = None
    """float32 (n, d)."""
    labels: Array | None = None
    """Classes, int64 (n,); None also if the images have none."""
    logits: Array | None = None
    """float32 (n, K)."""
    images: Tensor | None = None
    """A random part of the images (m, C, H, W), m <= n, in random order: uint8, or float32 from 0
    to 255. A metric takes as many of the first as it needs; another may need more."""


class Batch(NamedTuple):
    """Images on their way to the extractor."""

    images: Tensor
    """(n, C, H, W): uint8, or float32 from 0 to 255."""
    labels: Tensor | None = None
    """Classes, int64 (n,), or None."""


def collect(
    batches: Iterable[Batch],
    needs: Needs,
    extractor: Extractor | None,
    *,
    keep: Sequence[int] | Array = (),
    progress: Callable[[int], None] | None = None,
) -> FeatureStatistics:
    """Collect what is needed in one pass over images.

    Args:
        batches: Of any sizes.
        needs: What to collect.
        extractor: May be None if `needs` takes none.
        keep: Positions in the stream of the images to keep themselves, in the order wanted.
        progress: Called with the number of images done so far.

    Raises:
        DataError: The extractor gave features that are not finite, or there are too few images.
    """
    moments = Moments()
    features, logits, labels, images = [], [], [], []
    order = np.argsort(np.asarray(keep, dtype=np.int64))
    positions = np.asarray(keep, dtype=np.int64)[order]
    count = 0
    for batch in batches:
        if extractor is not None and needs.extractor:
            found, scores = extractor(batch.images)
            if not bool(torch.isfinite(found).all() and torch.isfinite(scores).all()):
                raise DataError(f"extractor {extractor.name} gave features that are not finite")
            if needs.moments:
                moments.update(found)
            if needs.features:
                features.append(found.cpu().numpy())
            if needs.logits:
                logits.append(scores.cpu().numpy())
        if needs.labels and batch.labels is not None:
            labels.append(batch.labels.numpy())
        size = len(batch.images)
        inside = positions[(positions >= count) & (positions < count + size)] - count
        if len(inside):
            images.append(batch.images[torch.from_numpy(inside)])
        count += size
        if progress is not None:
            progress(count)
    return FeatureStatistics(
        n=count,
        gaussian=Gaussian.of(moments) if needs.moments else None,
        features=np.concatenate(features) if features else None,
        labels=np.concatenate(labels) if labels else None,
        logits=np.concatenate(logits) if logits else None,
        images=torch.cat(images)[torch.from_numpy(np.argsort(order))] if images else None,
    )
