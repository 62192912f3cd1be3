"""The side of the real images: opened once, its statistics computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import torch

from gan_bench.errors import ConfigError, DataError, require
from gan_bench.evaluation.draws import Draws
from gan_bench.evaluation.features import Extractor
from gan_bench.evaluation.identity import identify
from gan_bench.evaluation.npz import holds_statistics, read_statistics
from gan_bench.evaluation.reference_cache import ReferenceCache
from gan_bench.evaluation.sources import Images, batches, open_source
from gan_bench.evaluation.statistics import Batch, FeatureStatistics, Needs
from gan_bench.files import file_digest

Collect = Callable[[Iterable[Batch], int, Needs], FeatureStatistics]
"""Collects what is needed of so many images of a stream."""


class ImageReference:
    """Real images."""

    name: str | None = None

    def __init__(self, images: Images, wanted: int | None, draws: Draws, *, cache: bool) -> None:
        """Open them.

        Args:
            images: See `Evaluator`.
            wanted: How many are taken; None: all.
            draws: Says which, if there are more.
            cache: Whether what they are, and their statistics, are read from and kept on disk.

        Raises:
            ConfigError: There are fewer than `wanted`.
            DataError: They are missing or unreadable.
        """
        self._source = open_source(images, "reference")
        self._identity = identify(self._source, remember=cache)
        available = self._identity.count
        self.count = available if wanted is None else wanted
        require(self.count >= 2, f"the reference needs 2 images or more, not {self.count}")
        if self.count > available:
            raise ConfigError(
                f"n_reference={wanted}, but there are only {available} reference images"
            )
        self.shape: tuple[int, int, int] | None = self._identity.shape
        self.digest = self._identity.digest
        self._draws = draws
        self._cache = cache

    def statistics(
        self, needs: Needs, extractor: Extractor | None, batch_size: int, collect: Collect
    ) -> FeatureStatistics:
        """Return what is needed, from the cache or in one pass.

        Raises:
            DataError: An image is unreadable.
        """
        source, count = self._source, self.count
        chosen = self._draws.choose(self._identity.count, count, "reference")

        def compute(wanted: Needs) -> FeatureStatistics:
            found = collect(batches(source, chosen, batch_size, "reference"), count, wanted)
            gaussian = found.gaussian
            return replace(found, gaussian=None if gaussian is None else gaussian.factored())

        found = FeatureStatistics(n=count)
        if extractor is not None and needs.extractor:
            wanted = Needs(moments=needs.moments, features=needs.features)
            chosen_by = self._draws.seed if count < self._identity.count else None
            found = (
                ReferenceCache(self.digest, count, chosen_by, extractor).get(wanted, compute)
                if self._cache
                else compute(wanted)
            )
        if needs.images:
            kept = chosen[self._draws.kept(count, needs.images)]
            found = replace(found, images=source.images(torch.from_numpy(kept)))
        if needs.labels and source.labels is not None:
            found = replace(found, labels=source.labels[torch.from_numpy(chosen)].numpy())
        return found


class StatisticsReference:
    """Published statistics of real images: a mean and a covariance, and no images."""

    shape: tuple[int, int, int] | None = None

    def __init__(self, path: Path, extractor: Extractor | None) -> None:
        """Read the file.

        Raises:
            DataError: It is unreadable, or not of the extractor's features.
        """
        found = read_statistics(path)
        assert found.gaussian is not None
        dim = len(found.gaussian.mean)
        if extractor is not None and dim != extractor.feature_dim:
            raise DataError(
                f"{path} is of {dim} features, extractor {extractor.name} gives "
                f"{extractor.feature_dim}; choose the extractor that it was made with"
            )
        self._found = found
        self.count = found.n
        self.digest = file_digest(path)
        self.name = path.name

    def statistics(
        self, needs: Needs, extractor: Extractor | None, batch_size: int, collect: Collect
    ) -> FeatureStatistics:
        """Return the moments.

        Raises:
            ConfigError: More is needed.
        """
        if needs.features or needs.labels or needs.images:
            raise ConfigError(
                f"{self.name} holds only a mean and a covariance, and a metric needs real images; "
                "leave it out (metrics=[fid] is served), or give the images as the reference"
            )
        gaussian = self._found.gaussian
        assert gaussian is not None
        return replace(self._found, gaussian=gaussian.factored())


Reference = ImageReference | StatisticsReference


def open_reference(
    images: Images,
    wanted: int | None,
    draws: Draws,
    extractor: Extractor | None,
    *,
    cache: bool,
) -> Reference:
    """Open real images, or the .npz with their statistics; see `Evaluator` for the arguments.

    Raises:
        ConfigError: There are fewer images than wanted.
        DataError: What is given is missing or unreadable.
    """
    if isinstance(images, (str, Path)):
        path = Path(images).expanduser()
        if holds_statistics(path):
            return StatisticsReference(path, extractor)
    return ImageReference(images, wanted, draws, cache=cache)
