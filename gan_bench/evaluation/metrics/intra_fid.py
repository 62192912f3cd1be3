"""Class-conditional Fréchet distance (Miyato and Koyama 2018, arXiv 1802.05637, section 4)."""

from __future__ import annotations

import numpy as np
import torch

from gan_bench.errors import DataError
from gan_bench.evaluation.frechet import Gaussian, frechet_distance
from gan_bench.evaluation.metrics.base import Metric, both_features
from gan_bench.evaluation.moments import Moments
from gan_bench.evaluation.statistics import Array, FeatureStatistics, Needs
from gan_bench.registry import METRICS


@METRICS.register("intra_fid", source="Miyato and Koyama 2018, arXiv 1802.05637, section 4")
class IntraClassFrechetDistance(Metric):
    """Mean over classes of the Fréchet distance within a class; lower is better.

    Real and generated images need labels of the same classes. The paper takes 5000 generated
    images a class; the distance is biased upward for fewer. `intra_fid_max` is the worst class.
    """

    needs = Needs(features=True, labels=True)
    figures = ("intra_fid", "intra_fid_max")

    def __call__(
        self,
        real: FeatureStatistics | None,
        fake: FeatureStatistics,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        """Return intra_fid, intra_fid_max and intra_fid_classes, their number; see `Metric`."""
        x, y = both_features(real, fake)
        assert real is not None
        if real.labels is None or fake.labels is None:
            side = "real" if real.labels is None else "generated"
            raise DataError(
                f"intra_fid needs classes, and the {side} images have none: give a labelled set, "
                "a folder with a sub-folder for each class, or an .npz with labels"
            )
        classes = np.union1d(real.labels, fake.labels)
        for each in classes:
            counts = [int((labels == each).sum()) for labels in (real.labels, fake.labels)]
            if min(counts) < 2:
                raise DataError(
                    f"intra_fid needs 2 images of each class on both sides or more; class {each} "
                    f"has {counts[0]} real and {counts[1]} generated"
                )
        distances = [
            frechet_distance(_gaussian(x[real.labels == each]), _gaussian(y[fake.labels == each]))
            for each in classes
        ]
        return {
            "intra_fid": float(np.mean(distances)),
            "intra_fid_max": float(np.max(distances)),
            "intra_fid_classes": len(classes),
        }


def _gaussian(features: Array) -> Gaussian:
    moments = Moments()
    moments.update(torch.from_numpy(features))
    return Gaussian.of(moments)
