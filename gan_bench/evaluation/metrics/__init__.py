"""Metrics: pure functions of what was collected of the images. Importing this registers them."""

from gan_bench.evaluation.metrics import (  # noqa: F401
    density_coverage,
    fid,
    fid_infinity,
    inception_score,
    intra_fid,
    kid,
    ms_ssim,
    prd,
    precision_recall,
    sliced_wasserstein,
)
from gan_bench.evaluation.metrics.base import Metric

__all__ = ["Metric"]
