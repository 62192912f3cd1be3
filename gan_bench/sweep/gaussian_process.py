"""A Gaussian-process bandit (Srinivas et al. 2010; The GAN Landscape, arXiv 1807.04720).

Decisions:
- The model is fitted anew, to the ordered history, at every ask: scikit-optimize's regressor, with
  a Matern 5/2 kernel, a length scale for each coordinate, and noise.
- Where all known values are positive it models their log10: FID spans decades, and the spread
  among good settings matters more than that among bad ones.
- A failure is told the worst finite value known at that time: bad, without bending the scale.
- A pending point is told what the model expects there (kriging believer, Ginsbourger et al. 2010):
  its variance is gone, so the next point is elsewhere.
- Options of a choice have no order. Each is a coordinate of its own to the model, and every
  combination of options is a cell of its own to the acquisition: it is looked at in each, and
  pursued within the best, over the numbers alone. So nothing leads between options or to corners
  that no option has, and what is learned of the numbers in one combination serves all.
- A fit takes time that grows with the cube of the observations. Beyond `_MOST` the model takes the
  better half of so many and a seeded draw of the rest: an ask takes as long with 1,000 as with
  200. What the cut costs in quality has not been measured.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr, ndtr
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor as Plain
from skopt.learning import GaussianProcessRegressor
from skopt.learning.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from gan_bench import files
from gan_bench.sweep.space import Choice, Interval, Settings, Space
from gan_bench.sweep.suggest import SobolSuggester

Array = NDArray[np.float64]

_MOST = 150
"""Observations that a fit takes."""
_CANDIDATES = 2000
"""Points at which the acquisition is first looked at, over all combinations of options."""
_NEAR = 200
"""Points around each of the best, in each round of the search for the minimum."""
_BEST, _ROUNDS = 5, (0.1, 0.03, 0.01, 0.003, 0.001)
"""How many points are pursued, and how far each round goes (in units of the box)."""
_COMBINATIONS = 64
"""Of options, at most, that are looked at in one ask."""
_LOG_LENGTH, _LENGTH_SPREAD = -0.5, 0.7
"""Mean and standard deviation of the prior of a length scale's logarithm, in units of the box."""
_LOG_NOISE, _MOST_NOISE = -9.0, 0.1
"""Expected logarithm, and most, of the noise's variance, in units of the values'."""
_REMEMBERED = 10
"""Tells over which hedge reckons."""


class GaussianProcessSuggester(SobolSuggester):
    """Minimizes the lower confidence bound, the expected improvement, or hedges between them."""

    def __init__(
        self,
        space: Space,
        *,
        key: str = "",
        acquisition: str = "lcb",
        kappa: float = 1.96,
        xi: float = 0.0,
        random_starts: int = 5,
        **_: Any,
    ) -> None:
        """Start without observations.

        Args:
            space: Where to search.
            key: Names the sequence of random numbers (study, cell).
            acquisition: lcb (mean - kappa * standard deviation), ei (expected improvement), or
                hedge (GP-Hedge, Hoffman et al. 2011, over both and the probability of
                improvement).
            kappa: How much uncertainty attracts.
            xi: What counts as an improvement, in standard deviations of the values.
            random_starts: Observed and pending points before the model is used; till then they
                are those of a Sobol sequence.
        """
        super().__init__(space, key=key)
        self._acquisition, self._kappa, self._xi = acquisition, kappa, xi
        self._random_starts = random_starts
        self._box = _Box(space)

    def ask(self, pending: Sequence[Settings] = ()) -> Settings | None:
        """Return the model's next point; the sequence's at first and where it would repeat."""
        taken = self._taken(pending)
        inside = [settings for settings in pending if settings in self.space]
        values = self._imputed()
        if values and self.space.dimensions and len(values) + len(inside) >= self._random_starts:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # variances that round to 0 beside observations
                for settings in self._by_model(values, inside, self._rng(pending)):
                    if files.digest(settings) not in taken:
                        return settings
        return self._first_new(taken, self._draws(pending))

    def _imputed(self) -> list[float]:
        """Return a finite value for each observation; none if no trial has succeeded."""
        known = [value for _, value in self._told if value is not None]
        if not known:
            return []
        worst = max(known)
        values = [worst if value is None else value for _, value in self._told]
        return [math.log10(value) for value in values] if min(values) > 0 else values

    def _by_model(
        self, values: list[float], pending: list[Settings], rng: np.random.Generator
    ) -> Iterator[Settings]:
        """Yield settings, the best by the acquisition first."""
        chosen = _chosen(values, rng)
        points = np.array([self._box.point(self._told[n][0]) for n in chosen])
        scaled = _standardized(np.array([values[n] for n in chosen]))
        model = _fitted(points, scaled, rng)
        if pending:
            more = np.array([self._box.point(settings) for settings in pending])
            points = np.concatenate([points, more])
            scaled = np.concatenate([scaled, model.predict(more)])
            model = _refitted(model, points, scaled)
        names = [self._acquisition]
        if self._acquisition == "hedge":
            names = _hedged(model, points, scaled, self._parameters, self._box, rng)
        incumbents = points[np.argsort(scaled, kind="stable")[:_BEST]]
        for name in names:
            for point in self._minima(model, name, scaled.min(), incumbents, rng):
                yield self._box.settings(point)

    @property
    def _parameters(self) -> dict[str, float]:
        return {"kappa": self._kappa, "xi": self._xi}

    def _minima(
        self, model: Any, name: str, best: float, incumbents: Array, rng: np.random.Generator
    ) -> Array:
        """Search the box, combination by combination, and return its best points in order."""
        candidates = np.concatenate([self._box.draw(_CANDIDATES, rng), incumbents])
        for reach in (*_ROUNDS, None):
            costs = acquisition(name, candidates, model, best, **self._parameters)
            order = np.argsort(costs, kind="stable")
            leaders = candidates[order[:_BEST]]
            if reach is None:
                break
            near = [self._box.around(leader, reach, _NEAR, rng) for leader in leaders]
            candidates = np.concatenate([leaders, *near])
        return leaders


class _Box:
    """Settings as points: numbers as positions in [0, 1], a choice as one coordinate an option."""

    def __init__(self, space: Space) -> None:
        self._space = space
        dimensions = space.dimensions.items()
        self._numbers = {k: d for k, d in dimensions if isinstance(d, Interval)}
        self._choices = {k: d for k, d in dimensions if isinstance(d, Choice)}

    def point(self, settings: Settings) -> Array:
        """Return settings of the space as a point."""
        numbers = [d.position(settings[key]) for key, d in self._numbers.items()]
        options = [d.index(settings[key]) for key, d in self._choices.items()]
        return np.array([*numbers, *self._one_hot(options)])

    def settings(self, point: Array) -> Settings:
        """Return the settings at a point."""
        count = len(self._numbers)
        positions: dict[str, float] = dict(
            zip(self._numbers, map(float, point[:count]), strict=True)
        )
        start = count
        for key, dimension in self._choices.items():
            option = int(np.argmax(point[start : start + dimension.size]))
            positions[key] = (option + 0.5) / dimension.size
            start += dimension.size
        return self._space.at(positions)

    def _one_hot(self, options: Sequence[int]) -> list[float]:
        found: list[float] = []
        for option, dimension in zip(options, self._choices.values(), strict=True):
            found += [float(n == option) for n in range(dimension.size)]
        return found

    def draw(self, count: int, rng: np.random.Generator) -> Array:
        """Draw points, as many in each combination of options."""
        combinations = list(product(*(range(d.size) for d in self._choices.values())))
        if len(combinations) > _COMBINATIONS:
            kept = rng.choice(len(combinations), _COMBINATIONS, replace=False)
            combinations = [combinations[n] for n in kept]
        each = max(50, count // len(combinations)) if self._numbers else 1
        return np.concatenate(
            [
                np.hstack(
                    [
                        rng.random((each, len(self._numbers))),
                        np.tile(self._one_hot(options), (each, 1)),
                    ]
                )
                for options in combinations
            ]
        )

    def around(self, point: Array, reach: float, count: int, rng: np.random.Generator) -> Array:
        """Draw points near one, with the same options."""
        found = np.tile(point, (count, 1))
        width = len(self._numbers)
        moved = rng.random((count, width)) < max(0.5, 1 / max(1, width))  # along some axes only
        found[:, :width] += reach * rng.standard_normal((count, width)) * moved
        return np.clip(found, 0.0, 1.0)


def acquisition(
    name: str, points: Array, model: Any, best: float, *, kappa: float, xi: float
) -> Array:
    """Return what is to be minimized at points (N, d), (N,): the lower bound, -log EI, or -log PI.

    `best` is the lowest value known; an improvement counts from `xi` on. Logarithms tell points
    apart whose chances are too small for numbers (Ament et al., arXiv 2310.20708).
    """
    mean, deviation = (np.asarray(each) for each in model.predict(points, return_std=True))
    deviation = np.maximum(deviation, 1e-12)
    if name == "lcb":
        return np.asarray(mean - kappa * deviation)
    z = (best - xi - mean) / deviation
    if name == "pi":
        return np.asarray(-log_ndtr(z))
    return np.asarray(-(np.log(deviation) + _log_improvement(z)))


def _log_improvement(z: Array) -> Array:
    """Return log(phi(z) + z Phi(z)), phi and Phi the normal density and distribution."""
    near = np.log(norm.pdf(np.maximum(z, -1)) + np.maximum(z, -1) * ndtr(np.maximum(z, -1)))
    far = np.minimum(z, -1)
    ratio = math.sqrt(math.pi / 2) * erfcx(-far / math.sqrt(2))  # Phi / phi
    tail = np.where(far > -1e4, np.log1p(np.maximum(far, -1e4) * ratio), -2 * np.log(-far))
    return np.asarray(np.where(z > -1, near, norm.logpdf(far) + tail), dtype=np.float64)


def _chosen(values: list[float], rng: np.random.Generator) -> list[int]:
    """Choose the observations of a fit, in order."""
    if len(values) <= _MOST:
        return list(range(len(values)))
    order = np.argsort(values, kind="stable")
    others = rng.choice(order[_MOST // 2 :], _MOST - _MOST // 2, replace=False)
    return sorted([*map(int, order[: _MOST // 2]), *map(int, others)])


def _standardized(values: Array) -> Array:
    spread = float(values.std())
    scaled: Array = (values - values.mean()) / (spread if spread > 1e-12 else 1.0)
    return scaled


class _MaximumAPosteriori(GaussianProcessRegressor):  # type: ignore[misc]
    """scikit-optimize's regressor with priors on its parameters.

    With a few observations in several dimensions the likelihood alone explains the values by any
    one coordinate, or by noise alone. Log-normal priors, as are usual in Bayesian optimization,
    expect amplitudes near 1, length scales near half the box, and little noise.
    """

    def log_marginal_likelihood(
        self, theta: Any = None, eval_gradient: bool = False, clone_kernel: bool = True
    ) -> Any:
        """Add the log prior; theta holds log amplitude, log length scales and log noise."""
        found = super().log_marginal_likelihood(theta, eval_gradient, clone_kernel)
        if theta is None:
            return found
        count = len(theta) - 2
        means = np.array([0.0, *[_LOG_LENGTH] * count, _LOG_NOISE])
        scales = np.array([1.0, *[_LENGTH_SPREAD] * count, 2.0])
        away = (np.asarray(theta) - means) / scales
        prior = -0.5 * float(away @ away)
        if eval_gradient:
            value, gradient = found
            return value + prior, gradient - away / scales
        return found + prior

    def predict(self, X: Any, return_std: bool = False) -> Any:  # noqa: N803
        """Predict by the Cholesky factor: the inverse that skopt keeps loses small variances."""
        return Plain.predict(self, X, return_std=return_std)


def _fitted(points: Array, values: Array, rng: np.random.Generator) -> Any:
    """Fit the model with its length scales."""
    scales = np.full(points.shape[1], math.exp(_LOG_LENGTH))
    kernel = ConstantKernel(1.0, (0.01, 100.0)) * Matern(
        length_scale=scales, length_scale_bounds=[(0.01, 100.0)] * len(scales), nu=2.5
    ) + WhiteKernel(math.exp(_LOG_NOISE), (1e-7, _MOST_NOISE))
    model = _MaximumAPosteriori(
        kernel=kernel,
        noise="gaussian",
        n_restarts_optimizer=1 if len(values) <= 50 else 0,
        random_state=int(rng.integers(2**31)),
    )
    return model.fit(points, values)


def _refitted(model: Any, points: Array, values: Array) -> Any:
    """Return a model of other observations with the same length scales and noise."""
    noise = model.alpha + float(getattr(model, "noise_", 0.0))
    same = Plain(kernel=model.kernel_, alpha=noise, optimizer=None)
    return same.fit(points, values)


def _hedged(
    model: Any,
    points: Array,
    values: Array,
    parameters: dict[str, float],
    box: _Box,
    rng: np.random.Generator,
) -> list[str]:
    """Order the acquisitions by a draw in proportion to exp(gain) (Hoffman et al. 2011).

    A gain is what the model now expects of the points that an acquisition would have nominated
    before each of the last tells: reckoned again from the history, nothing has to be remembered.
    """
    names = ("lcb", "ei", "pi")
    candidates = box.draw(500, rng)
    gains = np.zeros(len(names))
    for known in range(max(2, len(values) - _REMEMBERED), len(values)):
        earlier = _refitted(model, points[:known], values[:known])
        best = float(values[:known].min())
        nominees = np.array(
            [
                candidates[np.argmin(acquisition(name, candidates, earlier, best, **parameters))]
                for name in names
            ]
        )
        gains -= model.predict(nominees)
    chances = np.maximum(np.exp(gains - gains.max()), 1e-6)
    order = rng.choice(len(names), len(names), replace=False, p=chances / chances.sum())
    return [names[n] for n in order]
