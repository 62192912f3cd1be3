"""Statistics of the reference images, computed once and kept on disk.

The key covers all that they depend on: the images' content, which of them, the extractor's
weights and arithmetic. Moments and features are files of their own, since FID alone needs no
features, which are large.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan_bench.errors import StorageError
from gan_bench.evaluation.features import Extractor
from gan_bench.evaluation.frechet import Gaussian
from gan_bench.evaluation.statistics import Array, FeatureStatistics, Needs
from gan_bench.files import cache_dir, computed_once, digest, write_atomic

VERSION = 2


class ReferenceCache:
    """The cached statistics of one choice of images under one extractor."""

    def __init__(
        self, images_digest: str, count: int, seed: int | None, extractor: Extractor
    ) -> None:
        """Say whose statistics they are.

        Args:
            images_digest: Of all images of the reference.
            count: How many of them are taken.
            seed: Of the random choice, or None if all are taken.
            extractor: What gives the features.
        """
        key = digest(
            {
                "version": VERSION,
                "images": images_digest,
                "count": count,
                "seed": seed,
                "extractor": [
                    extractor.name,
                    extractor.digest,
                    extractor.resize,
                    extractor.precision,
                ],
            },
            length=32,
        )
        self.path = cache_dir() / "references" / key
        self._count = count
        self._dim = extractor.feature_dim

    def get(self, needs: Needs, compute: Callable[[Needs], FeatureStatistics]) -> FeatureStatistics:
        """Return what is needed: what is there is read, the rest is computed in one pass.

        Of several processes that need the same, one computes and the others wait for it.
        """
        found, missing = self._read(needs)
        if missing is None:
            return found
        with computed_once(self.path):
            found, missing = self._read(needs)
            if missing is None:
                return found
            made = compute(missing)
            if made.gaussian is not None:
                found = replace(found, gaussian=made.gaussian.factored())
                self._write_moments(found)
            if made.features is not None:
                found = replace(found, features=made.features)
                self._write("features", {"features": made.features})
        return found

    def _read(self, needs: Needs) -> tuple[FeatureStatistics, Needs | None]:
        """Return what there is, and the needs that are left; None if all are served."""
        found = FeatureStatistics(n=self._count)
        moments = self._load("moments", self._checked_moments) if needs.moments else None
        if moments is not None:
            found = replace(
                found,
                gaussian=Gaussian(
                    torch.from_numpy(moments["mean"]),
                    float(moments["trace"]),
                    factor=torch.from_numpy(moments["factor"]),
                ),
            )
        features = self._load("features", self._checked_features) if needs.features else None
        if features is not None:
            found = replace(found, features=features["features"])
        missing = Needs(
            moments=needs.moments and moments is None,
            features=needs.features and features is None,
        )
        return found, missing if missing.extractor else None

    def _checked_moments(self, arrays: dict[str, Array]) -> bool:
        mean, factor = arrays["mean"], arrays["factor"]
        fits = mean.shape == (self._dim,) and factor.ndim == 2 and len(factor) == self._dim
        return fits and arrays["trace"].shape == ()

    def _checked_features(self, arrays: dict[str, Array]) -> bool:
        return arrays["features"].shape == (self._count, self._dim)

    def _write_moments(self, statistics: FeatureStatistics) -> None:
        gaussian = statistics.gaussian
        assert gaussian is not None and gaussian.factor is not None
        arrays: dict[str, Any] = {
            "mean": gaussian.mean.numpy(),
            "factor": gaussian.factor.numpy(),
            "trace": np.float64(gaussian.trace),
        }
        self._write("moments", arrays)

    def _file(self, part: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{part}.npz")

    def _write(self, part: str, arrays: dict[str, Any]) -> None:
        """Write atomically; a disk that refuses is a warning, since nothing is lost."""
        try:
            write_atomic(self._file(part), lambda stream: np.savez(stream, **arrays))
        except StorageError as error:
            warnings.warn(f"the reference's statistics are not kept: {error}", stacklevel=2)

    def _load(self, part: str, fits: Callable[[dict[str, Array]], bool]) -> dict[str, Array] | None:
        """Read a file; None, with a warning if it is there but damaged, to compute anew."""
        path = self._file(part)
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as content:  # the zip's checksums are verified
                arrays = {name: content[name] for name in content.files}
            if not fits(arrays) or not all(np.isfinite(each).all() for each in arrays.values()):
                raise ValueError("it holds something else than it should")
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            reason = " ".join(str(error).split())[:120]
            warnings.warn(
                f"cached reference {path} is damaged ({reason}) and is computed anew",
                stacklevel=2,
            )
            return None
        return arrays
