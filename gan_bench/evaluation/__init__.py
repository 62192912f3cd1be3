"""Evaluation: images in, figures out. It knows no GAN and no trainer."""

from gan_bench.evaluation.evaluator import Evaluator, evaluate, figures
from gan_bench.evaluation.features import Extractor, build_extractor

__all__ = ["Evaluator", "Extractor", "build_extractor", "evaluate", "figures"]
