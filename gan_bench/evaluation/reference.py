"""Statistics of the reference images, computed once and kept on disk.

The key covers all that they depend on: the images' content, which of them, the extractor's
weights and arithmetic, and what was collected.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from gan_bench.errors import StorageError
from gan_bench.evaluation.features import Extractor
from gan_bench.evaluation.statistics import FeatureStatistics, Needs
from gan_bench.files import cache_dir, digest, write_atomic

VERSION = 1


def reference_path(
    images_digest: str, count: int, seed: int | None, extractor: Extractor, needs: Needs
) -> Path:
    """Return where the statistics of a reference are kept.

    Args:
        images_digest: Of all images of the reference.
        count: How many of them are taken.
        seed: Of the random choice, or None if all are taken.
        extractor: What gives the features.
        needs: What is collected.
    """
    key = digest(
        {
            "version": VERSION,
            "images": images_digest,
            "count": count,
            "seed": seed,
            "extractor": [extractor.name, extractor.digest, extractor.resize, extractor.precision],
            "needs": [needs.moments, needs.features],
        }
    )
    return cache_dir() / "references" / f"{key}.npz"


def save_reference(path: Path, statistics: FeatureStatistics) -> None:
    """Write statistics atomically; a disk that refuses is a warning, since nothing is lost."""
    arrays: dict[str, Any] = {"n": np.int64(statistics.n)}
    for name in ("mean", "covariance", "features"):
        value = getattr(statistics, name)
        if value is not None:
            arrays[name] = value
    try:
        write_atomic(path, lambda stream: np.savez(stream, **arrays))
    except StorageError as error:
        warnings.warn(f"the reference's statistics are not kept: {error}", stacklevel=2)


def load_reference(
    path: Path, count: int, feature_dim: int, needs: Needs
) -> FeatureStatistics | None:
    """Read statistics; None, with a warning if a file is there but damaged, to compute anew."""
    if not path.exists():
        return None
    shapes: dict[str, tuple[int, ...]] = {}
    if needs.moments:
        shapes |= {"mean": (feature_dim,), "covariance": (feature_dim, feature_dim)}
    if needs.features:
        shapes |= {"features": (count, feature_dim)}
    try:
        with np.load(path, allow_pickle=False) as content:  # the zip's checksums are verified
            arrays = {name: content[name] for name in shapes}
            if int(content["n"]) != count:
                raise ValueError("another number of images")
        for name, shape in shapes.items():
            if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
                raise ValueError(f"its {name} is not what it should be")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:120]
        warnings.warn(
            f"cached reference {path} is damaged ({reason}) and is computed anew", stacklevel=2
        )
        return None
    return FeatureStatistics(n=count, **arrays)
