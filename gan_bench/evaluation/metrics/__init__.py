"""Metrics: pure functions of what was collected of the images. Importing this registers them."""

from gan_bench.evaluation.metrics import (  # noqa: F401
    fid,
    inception_score,
    intra_fid,
    kid,
    ms_ssim,
    precision_recall,
)
from gan_bench.evaluation.metrics.base import Metric

__all__ = ["Metric"]
