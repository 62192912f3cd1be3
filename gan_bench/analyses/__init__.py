"""Analyses: what a finished run's generator is like, beyond its metrics; see docs/analyses.md.

One file each. Importing this registers them; `gan_bench.analyses.run.analyze_run` carries one out.
"""

from gan_bench.analyses import fractal_dimension, gilbo, jacobian_conditioning  # noqa: F401
from gan_bench.analyses.base import Analysis, AnalysisContext

__all__ = ["Analysis", "AnalysisContext"]
