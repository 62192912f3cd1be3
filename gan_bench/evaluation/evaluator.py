"""Images in, figures out: one pass over each side, then the metrics.

Every result says under which protocol it was taken; two figures compare only if their `protocol`
strings are equal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch

from gan_bench.errors import ConfigError, DataError, require
from gan_bench.evaluation import metrics as _registered  # noqa: F401  (fills METRICS)
from gan_bench.evaluation.draws import Draws
from gan_bench.evaluation.features import Extractor, build_extractor
from gan_bench.evaluation.metrics.base import Metric
from gan_bench.evaluation.reference import Reference, open_reference
from gan_bench.evaluation.sources import Images, Sampler, batches, draw, open_source
from gan_bench.evaluation.statistics import Batch, FeatureStatistics, Needs, collect
from gan_bench.evaluation.uncertainty import summarize
from gan_bench.interfaces import Dataset
from gan_bench.registry import METRICS

PROTOCOL = "gan_bench-evaluation/2"
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
        quantized: bool = True,
        device: str | torch.device = "cpu",
        weights_path: str | Path | None = None,
        dataset: Dataset | None = None,
        cache: bool = True,
        progress: Progress | None = None,
    ) -> None:
        """Set up; the extractor is built here, so that what is wrong with it shows at once.

        Args:
            reference: Real images: a split, a uint8 tensor or array (N, C, H, W), the path of a
                folder, a zip or an .npz; or the path of an .npz with published statistics (`mu`,
                `sigma`), for metrics that need no more. None if no metric compares with real
                images.
            metrics: Names, or mappings with `name` and options. None: fid, kid, inception_score,
                precision_recall.
            extractor: "inception", "classifier:<dataset>", ... (see `build_extractor`), or a
                built one.
            n_generated: Number of generated images; None: all of them, or of a sampler as many
                as the reference's.
            n_reference: Number of reference images, chosen at random (by `seed`) if there are
                more; None: all.
            split: What the reference is called in the results.
            seed: Of all that is random: which images are chosen, subsets, pairs. At least 0.
            batch_size: Images in memory at a time; figures don't depend on it.
            quantized: Whether generated images are uint8. If not, they are a sampler's or a
                tensor's float32 from 0 to 255, not rounded, as in compare_gan; or a split, whose
                images never were anything else than uint8.
            device: Where the extractor runs.
            weights_path: The file of the extractor's weights.
            dataset: What a classifier is trained on, where its name alone doesn't say it (files
                that lie elsewhere, a folder of images).
            cache: Whether the reference's statistics are read from and kept on disk.
            progress: Told how far each pass is.

        Raises:
            ConfigError: An unknown metric, option or extractor, or a number out of range.
            DataError: The reference is missing, unreadable or not uint8 (N, C, H, W), or too
                small for a metric.
            WeightsError: The extractor's weights are missing or corrupt.
        """
        require(seed >= 0, f"seed must be at least 0, not {seed}")
        require(batch_size >= 1, f"batch_size must be at least 1, not {batch_size}")
        self.split = split
        self.seed = seed
        self.batch_size = batch_size
        self.quantized = quantized
        self._metrics, self._options = _build_metrics(
            DEFAULT_METRICS if metrics is None else metrics
        )
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
            self._require_scores(self._extractor)
        self._progress = progress
        self._n_generated = n_generated
        self._draws = Draws(seed)
        self._reference: Reference | None = None
        if reference is not None and self._needs.reference:
            self._reference = open_reference(
                reference, n_reference, self._draws, self._extractor, cache=cache
            )
        self._statistics: FeatureStatistics | None = None
        self._check(self._n_reference if n_generated is None else n_generated)

    @property
    def extractor(self) -> Extractor | None:
        """What makes features of images; None if no metric needs any."""
        return self._extractor

    @property
    def _n_reference(self) -> int | None:
        return None if self._reference is None else self._reference.count

    def prepare(self) -> None:
        """Compute the reference's statistics now, or read them from the cache.

        Raises:
            ConfigError: A metric needs a reference and there is none.
            DataError: The reference has an unreadable image.
        """
        if self._statistics is not None or not self._needs.reference:
            return
        if self._reference is None:
            names = [name for name, each in self._metrics.items() if each.needs.reference]
            raise ConfigError(f"{', '.join(names)}: a reference of real images is needed")
        self._statistics = self._reference.statistics(
            self._needs.real,
            self._extractor,
            self.batch_size,
            lambda stream, count, needs: self._collect(stream, count, needs, "reference", 0),
        )

    def run(self, generated: Images | Sampler, sets: int = 1) -> dict[str, Any]:
        """Evaluate generated images.

        Args:
            generated: A uint8 tensor or array (N, C, H, W), the path of a folder, a zip or an
                .npz, a split, or a sampler: called with n, it returns uint8 (n, C, H, W), or
                these and their classes.
            sets: Number of disjoint sample sets of n_generated images each. With several, a
                figure is the mean over the sets, and `uncertainty` tells its spread (see
                `gan_bench.evaluation.uncertainty`).

        Returns:
            The figures under their keys, with the extractor's suffix, and `n_real`, `n_fake`,
            `split`, `extractor`, `extractor_digest`, `resize`, `quantization`, `arithmetic`,
            `seed`, `sets`, `protocol`, `seconds_evaluate`, what the metrics used in fact
            (`kid_subset_size`) and `extractor_test_accuracy` of a classifier.

        Raises:
            ConfigError: There are fewer images than n_generated x sets.
            DataError: Images are unreadable, not uint8, of another shape than the reference's,
                or too few for a metric.
        """
        require(sets >= 1, f"sets must be at least 1, not {sets}")
        start = time.perf_counter()
        self.prepare()
        streams, count = self._open_generated(generated, sets)
        self._check(count)
        results = [self._run_set(stream, count, turn) for turn, stream in enumerate(streams)]
        result = results[0] if sets == 1 else summarize(results, list(figures(results[0])))
        return {**result, "seconds_evaluate": time.perf_counter() - start}

    def _run_set(self, stream: Iterable[Batch], count: int, turn: int) -> dict[str, Any]:
        fake = self._collect(self._of_shape(stream), count, self._needs, "generated", turn)
        record = self._record(count)
        suffix = self._extractor.suffix if self._extractor is not None else ""
        measured: dict[str, Any] = {}
        for name, metric in self._metrics.items():
            # a generator for each, so that a figure doesn't depend on the other metrics asked for
            for key, value in metric(self._statistics, fake, self._draws.rng(name, turn)).items():
                label = f"{key}{suffix}" if key in metric.figures else key
                require(
                    label not in measured and label not in record,
                    f"metric {name} gives '{label}', which is taken: rename it in the metric",
                )
                measured[label] = value
        return {**measured, **record}

    @property
    def needs(self) -> Needs:
        """What is collected for the metrics together."""
        return self._needs

    def _require_scores(self, extractor: Extractor) -> None:
        if not self._needs.logits or getattr(extractor, "gives_scores", True):
            return
        names = [name for name, each in self._metrics.items() if each.needs.logits]
        raise ConfigError(
            f"{', '.join(names)}: class scores are needed, and extractor {extractor.name} gives "
            "none; leave it out of the metrics, or choose extractor=inception"
        )

    @property
    def _dtype(self) -> torch.dtype:
        """What generated tensors are: uint8, or float32 from 0 to 255."""
        return torch.uint8 if self.quantized else torch.float32

    def _check(self, n_generated: int | None) -> None:
        """Refuse what the data can't support, as far as it is known."""
        if n_generated is None:
            return
        shape = None if self._reference is None else self._reference.shape
        for metric in self._metrics.values():
            metric.check(self._n_reference, n_generated, shape)

    def _collect(
        self, stream: Iterable[Batch], count: int, needs: Needs, what: str, turn: int
    ) -> FeatureStatistics:
        report = self._progress
        return collect(
            stream,
            needs,
            self._extractor,
            keep=self._draws.kept(count, needs.images, turn),
            progress=None if report is None else lambda done: report(what, done, count),
        )

    def _open_generated(
        self, generated: Images | Sampler, sets: int
    ) -> tuple[Iterator[Iterable[Batch]], int]:
        """Return a stream for each set, and the number of images in each."""
        if callable(generated):
            count = self._n_reference if self._n_generated is None else self._n_generated
            if count is None or count < 2:
                raise ConfigError(
                    f"n_generated must be 2 or more to draw from a sampler, not {count}"
                )
            size, kind = count, self._dtype
            return (draw(generated, size, self.batch_size, kind) for _ in range(sets)), count
        if not self.quantized and isinstance(generated, (str, Path)):
            raise ConfigError(
                f"the images in {generated} are rounded to uint8 already, and this protocol "
                "measures images that are not: set evaluator.quantize=true"
            )
        source = open_source(generated, "generated", self._dtype)
        wanted = len(source) // sets if self._n_generated is None else self._n_generated
        if wanted * sets > len(source):
            raise ConfigError(
                f"n_generated={wanted}"
                + (f" in {sets} sets" if sets > 1 else "")
                + f", but there are only {len(source)} generated images"
            )
        require(wanted >= 2, f"2 generated images or more are needed, not {wanted}")
        return (
            batches(
                source,
                part,
                self.batch_size,
                "generated",
                labels=self._needs.labels,
            )
            for part in self._draws.sets(len(source), wanted, sets)
        ), wanted

    def _of_shape(self, stream: Iterable[Batch]) -> Iterator[Batch]:
        """Pass batches on, refusing another shape than the reference's."""
        shape = None if self._reference is None else self._reference.shape
        for batch in stream:
            if shape is not None and tuple(batch.images.shape[1:]) != shape:
                raise DataError(
                    f"generated images are {tuple(batch.images.shape[1:])}, reference images "
                    f"{shape}: give both one (C, H, W)"
                )
            yield batch

    def _record(self, n_fake: int) -> dict[str, Any]:
        extractor = self._extractor
        n_real = 0 if self._statistics is None else self._statistics.n
        name, sha = ("none", "none") if extractor is None else (extractor.name, extractor.digest)
        record: dict[str, Any] = {
            "n_real": n_real,
            "n_fake": n_fake,
            "split": (self._reference and self._reference.name) or self.split,
            "extractor": name,
            "extractor_digest": sha,
            "resize": "none" if extractor is None else extractor.resize,
            "quantization": "uint8" if self.quantized else "none",
            # not "precision", which is a figure
            "arithmetic": "float32" if extractor is None else extractor.precision,
            "seed": self.seed,
        }
        shown = {**record, "extractor": f"{name}@{sha[:12]}"}
        parts = [f"{key}={shown[key]}" for key in record if key not in ("extractor_digest", "seed")]
        record["protocol"] = ";".join([PROTOCOL, *parts, *self._options])
        if self._reference is not None:
            record["reference_digest"] = self._reference.digest
        if extractor is not None and extractor.test_accuracy is not None:
            record["extractor_test_accuracy"] = extractor.test_accuracy
        return record


def evaluate(
    generated: Images | Sampler, reference: Images | None, *, sets: int = 1, **options: Any
) -> dict[str, Any]:
    """Evaluate generated images against real ones.

    Args:
        generated: See `Evaluator.run`.
        reference: See `Evaluator`.
        sets: See `Evaluator.run`.
        options: The keyword arguments of `Evaluator`.

    Example:
        >>> evaluate("samples/", "test.zip", metrics=["fid"], extractor="classifier:digits")
        {'fid_digits_cnn': 12.3, 'n_real': 359, ...}
    """
    return Evaluator(reference, **options).run(generated, sets)


def figures(result: Mapping[str, Any]) -> dict[str, float]:
    """Return what was measured of the generated images, without settings and circumstances."""
    others = ("extractor_test_accuracy", "seconds_evaluate")
    return {
        key: value
        for key, value in result.items()
        if isinstance(value, float) and key not in others
    }


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
