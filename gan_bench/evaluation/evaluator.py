"""Images in, figures out: one pass over each side, then the metrics.

Every result says under which protocol it was taken; two figures compare only if their `protocol`
strings are equal.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan_bench.errors import ConfigError, DataError, require
from gan_bench.evaluation import metrics as _registered  # noqa: F401  (fills METRICS)
from gan_bench.evaluation.features import Extractor, build_extractor
from gan_bench.evaluation.metrics.base import Metric
from gan_bench.evaluation.reference import load_reference, reference_path, save_reference
from gan_bench.evaluation.sources import Images, ImageSource, Sampler, batches, draw, open_source
from gan_bench.evaluation.statistics import FeatureStatistics, Needs, collect
from gan_bench.interfaces import Dataset
from gan_bench.registry import METRICS

PROTOCOL = "gan_bench-evaluation/1"
DEFAULT_METRICS = ("fid", "kid", "inception_score", "precision_recall")

MetricSpec: TypeAlias = "str | Mapping[str, Any]"
"""A metric's name, or a mapping with `name` and options."""
Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with "reference" or "generated", the images done and the images in all."""


class Evaluator:
    """Evaluates sets of images against one reference, whose statistics are computed once."""

    def __init__(
        self,
        reference: Images | None,
        *,
        metrics: Sequence[MetricSpec] | None = None,
        extractor: str | Extractor = "inception",
        n_generated: int | None = None,
        n_reference: int | None = None,
        split: str = "test",
        seed: int = 0,
        batch_size: int = 256,
        device: str | torch.device = "cpu",
        weights_path: str | Path | None = None,
        dataset: Dataset | None = None,
        cache: bool = True,
        progress: Progress | None = None,
    ) -> None:
        """Set up; the extractor is built here, so that what is wrong with it shows at once.

        Args:
            reference: Real images: a split, a uint8 tensor or array (N, C, H, W), or the path of
                a folder, a zip or an .npz. None if no metric compares with real images.
            metrics: Names, or mappings with `name` and options. None: fid, kid, inception_score,
                precision_recall.
            extractor: "inception", "classifier:<dataset>", or a built one.
            n_generated: Number of generated images; None: all of them, or of a sampler as many
                as the reference's.
            n_reference: Number of reference images, chosen at random (by `seed`) if there are
                more; None: all.
            split: What the reference is called in the results.
            seed: Of all that is random: which images are chosen, subsets, pairs. At least 0.
            batch_size: Images in memory at a time; figures don't depend on it.
            device: Where the extractor runs.
            weights_path: The file of the Inception weights.
            dataset: What a classifier is trained on, where its name alone doesn't say it (files
                that lie elsewhere, a folder of images).
            cache: Whether the reference's statistics are read from and kept on disk.
            progress: Told how far each pass is.

        Raises:
            ConfigError: An unknown metric, option or extractor, or a number out of range.
            DataError: The reference is missing, unreadable or not uint8 (N, C, H, W).
            WeightsError: The Inception weights are missing or corrupt.
        """
        require(seed >= 0, f"seed must be at least 0, not {seed}")
        require(batch_size >= 1, f"batch_size must be at least 1, not {batch_size}")
        self.split = split
        self.seed = seed
        self.batch_size = batch_size
        self._metrics, options = _build_metrics(DEFAULT_METRICS if metrics is None else metrics)
        self._options = options
        self._needs = Needs()
        for metric in self._metrics.values():
            self._needs |= metric.needs
        self._extractor: Extractor | None = None
        if self._needs.extractor:
            self._extractor = (
                build_extractor(
                    extractor, weights_path=weights_path, device=device, dataset=dataset
                )
                if isinstance(extractor, str)
                else extractor
            )
        self._source = None if reference is None else open_source(reference, "reference")
        self._n_reference = _count(self._source, n_reference, "reference")
        self._n_generated = n_generated
        self._cache = cache
        self._progress = progress
        self._reference: FeatureStatistics | None = None
        self._reference_digest: str | None = None

    def prepare(self) -> None:
        """Compute the reference's statistics now, or read them from the cache.

        Raises:
            ConfigError: A metric needs a reference and there is none.
            DataError: The reference has fewer than 2 images, or an unreadable one.
        """
        needs = self._needs.real
        if self._reference is not None or not needs.extractor:
            return
        source, extractor, count = self._source, self._extractor, self._n_reference
        if source is None or extractor is None:
            names = [name for name, each in self._metrics.items() if each.needs.real.extractor]
            raise ConfigError(f"{', '.join(names)}: a reference of real images is needed")
        require(count >= 2, f"the reference needs 2 images or more, not {count}")
        self._reference_digest = source.digest()
        chosen_by = self.seed if count < len(source) else None
        path = reference_path(self._reference_digest, count, chosen_by, extractor, needs)
        found = load_reference(path, count, extractor.feature_dim, needs) if self._cache else None
        if found is None:
            chosen = self._choose(source, count, "reference")
            found = self._collect(
                batches(source, chosen, self.batch_size, "reference"), count, needs, "reference"
            )
            if self._cache:
                save_reference(path, found)
        self._reference = found

    def run(self, generated: Images | Sampler) -> dict[str, Any]:
        """Evaluate generated images.

        Args:
            generated: A uint8 tensor or array (N, C, H, W), the path of a folder, a zip or an
                .npz, a split, or a sampler: called with n, it returns uint8 (n, C, H, W).

        Returns:
            The figures under their keys, with the extractor's suffix, and `n_real`, `n_fake`,
            `split`, `extractor`, `extractor_digest`, `resize`, `quantization`, `arithmetic`,
            `seed`, `protocol`, `seconds_evaluate`, what the metrics used in fact
            (`kid_subset_size`) and `extractor_test_accuracy` of a classifier.

        Raises:
            ConfigError: There are fewer images than n_generated, or fewer than 2.
            DataError: Images are unreadable, not uint8, of another shape than the reference's,
                or too few for a metric.
        """
        start = time.perf_counter()
        self.prepare()
        stream, count = self._open_generated(generated)
        shape = None if self._source is None else _shape(self._source)
        fake = self._collect(_of_shape(stream, shape), count, self._needs, "generated")
        record = self._record(fake.n)
        figures: dict[str, Any] = {}
        suffix = self._extractor.suffix if self._extractor is not None else ""
        for name, metric in self._metrics.items():
            # a generator for each, so that a figure doesn't depend on the other metrics asked for
            found = metric(self._reference, fake, self._rng(name))
            for key, value in found.items():
                label = f"{key}{suffix}" if key in metric.figures else key
                require(
                    label not in figures and label not in record,
                    f"metric {name} gives '{label}', which is taken: rename it in the metric",
                )
                figures[label] = value
        return {**figures, **record, "seconds_evaluate": time.perf_counter() - start}

    def _collect(
        self, stream: Iterable[Tensor], count: int, needs: Needs, what: str
    ) -> FeatureStatistics:
        keep = np.arange(0)
        if needs.images:
            # a random part, for a folder may be sorted by class
            keep = np.sort(self._rng("images").permutation(count)[: needs.images])
        report = self._progress
        return collect(
            stream,
            needs,
            self._extractor,
            keep=keep,
            progress=None if report is None else lambda done: report(what, done, count),
        )

    def _open_generated(self, generated: Images | Sampler) -> tuple[Iterable[Tensor], int]:
        if callable(generated):
            count = self._n_reference if self._n_generated is None else self._n_generated
            require(
                count >= 2, f"n_generated must be 2 or more to draw from a sampler, not {count}"
            )
            return draw(generated, count, self.batch_size), count
        source = open_source(generated, "generated")
        count = _count(source, self._n_generated, "generated")
        require(count >= 2, f"2 generated images or more are needed, not {count}")
        chosen = self._choose(source, count, "generated")
        return batches(source, chosen, self.batch_size, "generated"), count

    def _choose(self, source: ImageSource, count: int, what: str) -> npt.NDArray[np.int64]:
        """Return sorted positions: all, or a random part that depends on the seed alone."""
        if count == len(source):
            return np.arange(count)
        return np.sort(self._rng(f"choose {what}").permutation(len(source))[:count])

    def _rng(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode())])

    def _record(self, n_fake: int) -> dict[str, Any]:
        extractor = self._extractor
        n_real = 0 if self._reference is None else self._reference.n
        name, sha = ("none", "none") if extractor is None else (extractor.name, extractor.digest)
        record: dict[str, Any] = {
            "n_real": n_real,
            "n_fake": n_fake,
            "split": self.split,
            "extractor": name,
            "extractor_digest": sha,
            "resize": "none" if extractor is None else extractor.resize,
            "quantization": "uint8",
            # not "precision", which is a figure
            "arithmetic": "float32" if extractor is None else extractor.precision,
            "seed": self.seed,
        }
        shown = {**record, "extractor": f"{name}@{sha[:12]}"}
        parts = [f"{key}={shown[key]}" for key in record if key not in ("extractor_digest", "seed")]
        record["protocol"] = ";".join([PROTOCOL, *parts, *self._options])
        if self._reference_digest is not None:
            record["reference_digest"] = self._reference_digest
        if extractor is not None and extractor.test_accuracy is not None:
            record["extractor_test_accuracy"] = extractor.test_accuracy
        return record


def evaluate(
    generated: Images | Sampler,
    reference: Images | None,
    *,
    metrics: Sequence[MetricSpec] | None = None,
    extractor: str | Extractor = "inception",
    n_generated: int | None = None,
    n_reference: int | None = None,
    split: str = "test",
    seed: int = 0,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
    weights_path: str | Path | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate generated images against real ones; see `Evaluator` for arguments and errors.

    Example:
        >>> evaluate("samples/", "test.zip", metrics=["fid"], extractor="classifier:digits")
        {'fid_digits_cnn': 12.3, 'n_real': 359, ...}
    """
    evaluator = Evaluator(
        reference,
        metrics=metrics,
        extractor=extractor,
        n_generated=n_generated,
        n_reference=n_reference,
        split=split,
        seed=seed,
        batch_size=batch_size,
        device=device,
        weights_path=weights_path,
        cache=cache,
        progress=progress,
    )
    return evaluator.run(generated)


def _build_metrics(specs: Sequence[MetricSpec]) -> tuple[dict[str, Metric], list[str]]:
    """Build metrics by full name; and tell options that aren't the defaults, for the protocol."""
    require(not isinstance(specs, str), "metrics must be a list of names")
    require(len(specs) > 0, "metrics is empty: name one or more")
    built: dict[str, Metric] = {}
    changed: list[str] = []
    for spec in specs:
        config = METRICS.normalize({"name": spec} if isinstance(spec, str) else spec)
        name = config["name"]
        require(name not in built, f"metric {name} is asked for twice")
        built[name] = METRICS.from_config(config)
        defaults = METRICS.entry(name).options
        differing = [f"{key}={config[key]}" for key in defaults if config[key] != defaults[key]]
        if differing:
            changed.append(f"{name}({','.join(differing)})")
    return built, sorted(changed)


def _count(source: ImageSource | None, wanted: int | None, what: str) -> int:
    """Return how many images of a source are taken."""
    available = 0 if source is None else len(source)
    if wanted is None:
        return available
    require(wanted >= 2, f"n_{what} must be at least 2, not {wanted}")
    if source is not None and wanted > available:
        raise ConfigError(f"n_{what}={wanted}, but there are only {available} {what} images")
    return wanted


def _shape(source: ImageSource) -> tuple[int, ...]:
    return tuple(source.images([0]).shape[1:])


def _of_shape(stream: Iterable[Tensor], shape: tuple[int, ...] | None) -> Iterable[Tensor]:
    for images in stream:
        if shape is not None and tuple(images.shape[1:]) != shape:
            raise DataError(
                f"generated images are {tuple(images.shape[1:])}, reference images {shape}: "
                "give both one (C, H, W)"
            )
        yield images
