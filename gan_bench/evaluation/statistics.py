"""What metrics are computed from: one pass over the images, then pure functions of the record.

Moments are taken in float64: in float32 the Fréchet distance of nearly singular covariances is
wrong by tens of points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan_bench.errors import DataError
from gan_bench.evaluation.features import Extractor

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Needs:
    """What a metric wants collected: the first two of both sides, the rest of generated ones."""

    moments: bool = False
    """Mean and covariance of the features of real and generated images."""
    features: bool = False
    """All features of real and generated images."""
    logits: bool = False
    """All logits of generated images."""
    images: int = 0
    """So many generated images themselves (fewer if there are fewer)."""

    def __or__(self, other: Needs) -> Needs:
        """Return what serves both."""
        return Needs(
            self.moments or other.moments,
            self.features or other.features,
            self.logits or other.logits,
            max(self.images, other.images),
        )

    @property
    def extractor(self) -> bool:
        """Whether an extractor has to run at all."""
        return self.moments or self.features or self.logits

    @property
    def real(self) -> Needs:
        """The part that concerns real images."""
        return Needs(self.moments, self.features)


@dataclass(frozen=True)
class FeatureStatistics:
    """What was collected of one side's images; what no metric needs is None."""

    n: int
    """Number of images."""
    mean: Array | None = None
    """Mean of the features, float64 (d,)."""
    covariance: Array | None = None
    """Covariance of the features with n - 1 in the denominator, float64 (d, d)."""
    features: Array | None = None
    """float32 (n, d)."""
    logits: Array | None = None
    """float32 (n, K)."""
    images: Tensor | None = None
    """A random part of the images, uint8 (m, C, H, W), m <= n."""


class Moments:
    """Mean and covariance of a stream of batches, float64, without a second pass.

    Batches are merged by the pairwise update of Chan, Golub and LeVeque (1979), whose error
    doesn't grow with the size of the mean as that of sums of squares does.
    """

    def __init__(self) -> None:
        """Start with no rows."""
        self.count = 0
        self._mean: Array | None = None
        self._scatter: Array | None = None

    def update(self, rows: Array) -> None:
        """Add rows (n, d); n may be 0."""
        rows = np.asarray(rows, dtype=np.float64)
        added = len(rows)
        if not added:
            return
        mean = rows.mean(axis=0)
        centred = rows - mean
        scatter = centred.T @ centred
        if self._mean is None or self._scatter is None:
            self._mean, self._scatter = mean, scatter
        else:
            total = self.count + added
            delta = mean - self._mean
            self._mean = self._mean + delta * (added / total)
            self._scatter += scatter
            self._scatter += np.outer(delta, delta * (self.count * added / total))
        self.count += added

    @property
    def mean(self) -> Array:
        """Mean (d,).

        Raises:
            DataError: There were no rows.
        """
        if self._mean is None:
            raise DataError("the mean of no images at all was asked for")
        return self._mean

    @property
    def covariance(self) -> Array:
        """Covariance (d, d), with count - 1 in the denominator.

        Raises:
            DataError: There were fewer than 2 rows.
        """
        if self._scatter is None or self.count < 2:
            raise DataError(f"a covariance needs 2 images or more, not {self.count}")
        return self._scatter / (self.count - 1)


def collect(
    batches: Iterable[Tensor],
    needs: Needs,
    extractor: Extractor | None,
    *,
    keep: Sequence[int] | Array = (),
    progress: Callable[[int], None] | None = None,
) -> FeatureStatistics:
    """Collect what is needed in one pass over images.

    Args:
        batches: uint8 (n, C, H, W) each, of any sizes.
        needs: What to collect.
        extractor: May be None if `needs` takes none.
        keep: Sorted positions in the stream of the images to keep themselves.
        progress: Called with the number of images done so far.

    Raises:
        DataError: The extractor gave features that are not finite, or there are too few images.
    """
    moments = Moments()
    features, logits, images = [], [], []
    positions = np.asarray(keep, dtype=np.int64)
    count = 0
    for batch in batches:
        if extractor is not None and needs.extractor:
            found, scores = extractor(batch)
            if not bool(torch.isfinite(found).all() and torch.isfinite(scores).all()):
                raise DataError(f"extractor {extractor.name} gave features that are not finite")
            if needs.moments:
                moments.update(found.numpy())
            if needs.features:
                features.append(found.numpy())
            if needs.logits:
                logits.append(scores.numpy())
        inside = positions[(positions >= count) & (positions < count + len(batch))] - count
        if len(inside):
            images.append(batch[torch.from_numpy(inside)])
        count += len(batch)
        if progress is not None:
            progress(count)
    return FeatureStatistics(
        n=count,
        mean=moments.mean if needs.moments else None,
        covariance=moments.covariance if needs.moments else None,
        features=np.concatenate(features) if features else None,
        logits=np.concatenate(logits) if logits else None,
        images=torch.cat(images) if images else None,
    )


def frechet_distance(mean1: Array, cov1: Array, mean2: Array, cov2: Array) -> float:
    """Return the squared Fréchet distance of two Gaussians.

    |m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((C1^(1/2) C2 C1^(1/2))^(1/2)), where the last root is a
    sum over eigenvalues of a symmetric matrix: real by construction, unlike those of C1 C2.

    Args:
        mean1: (d,), taken to float64 as all of them.
        cov1: (d, d), symmetric, positive semi-definite.
        mean2: (d,).
        cov2: (d, d).

    Returns:
        A number that is at least 0.

    Raises:
        DataError: The shapes don't fit, or a number is not finite.

    Source: Dowson and Landau 1982; Heusel et al. 2017 (arXiv 1706.08500), eq. 6.
    """
    mean1, cov1, mean2, cov2 = (
        np.asarray(each, dtype=np.float64) for each in (mean1, cov1, mean2, cov2)
    )
    if mean1.shape != mean2.shape or cov1.shape != cov2.shape:
        raise DataError(
            f"features of {mean1.shape[0]} and of {mean2.shape[0]} numbers can't be compared"
        )
    if not all(np.isfinite(each).all() for each in (mean1, cov1, mean2, cov2)):
        raise DataError("the Fréchet distance was asked of moments that are not finite")
    values, vectors = np.linalg.eigh(cov1)
    # a covariance has no negative eigenvalue; rounding gives tiny ones
    root = (vectors * np.sqrt(values.clip(min=0.0))) @ vectors.T
    product = root @ cov2 @ root
    spectrum = np.linalg.eigvalsh((product + product.T) / 2.0)
    overlap = np.sqrt(spectrum.clip(min=0.0)).sum()
    shift = mean1 - mean2
    distance = shift @ shift + np.trace(cov1) + np.trace(cov2) - 2.0 * overlap
    return max(float(distance), 0.0)
