"""How well searches search: `python -m benchmarks.search [--seeds 10] [--out DIR]`.

Ours (gaussian_process with lcb, ei and hedge; sobol; random) beside optuna's GP and TPE samplers,
one trial after the other, on
- hartmann6: the common test function of six numbers, distance from its optimum;
- gan: made to look like a GAN's FID over learning rate, betas, penalty weight, n_disc and an
  architecture of three, with two of them better at different learning rates;
- diverging: the same, where 30% of the trials fail: all above a learning rate, and some by chance.

Prints the median best value so far with a 95% bootstrap interval over the seeds, and what an ask
costs as observations grow; writes curves.csv and curves.png.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import bootstrap

from gan_bench.sweep import Choice, Space
from gan_bench.sweep.space import Settings
from gan_bench.sweep.suggest import suggest

SHOWN = (10, 25, 50, 100)
OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "gp (lcb)": ("gaussian_process", {"acquisition": "lcb"}),
    "gp (ei)": ("gaussian_process", {"acquisition": "ei"}),
    "gp (hedge)": ("gaussian_process", {"acquisition": "hedge"}),
    "sobol": ("sobol", {}),
    "random": ("random", {}),
}
THEIRS = ("optuna gp", "optuna tpe")

_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
_ALPHA = np.array([1, 1.2, 3, 3.2])
_HARTMANN_MINIMUM = -3.32237

HARTMANN = Space.parse({f"x{i}": "interval(0, 1)" for i in range(6)})
GAN = Space.parse(
    {
        "optimizer.lr": "tag(log, interval(1e-5, 1e-2))",
        "optimizer.beta1": "interval(0, 0.99)",
        "optimizer.beta2": "interval(0.5, 0.999)",
        "regularizer.weight": "tag(log, interval(0.01, 100))",
        "training.n_disc": "choice(1, 5)",
        "architecture": "choice(dcgan, sndcgan, resnet_cifar)",
    }
)


def hartmann6(settings: Settings, chance: float) -> float | None:
    """Return the function's value; tables show its distance from the optimum."""
    x = np.array([settings[f"x{i}"] for i in range(6)])
    inner = (_A * (x - _P) ** 2).sum(axis=1)
    return float(-(_ALPHA * np.exp(-inner)).sum())


def gan(settings: Settings, chance: float) -> float | None:
    """Return an invented FID, 20 at best, thousands at worst."""
    best_lr, floor = {"dcgan": (-3.7, 26), "sndcgan": (-3.3, 20), "resnet_cifar": (-4.0, 21)}[
        settings["architecture"]
    ]
    lr = math.log10(settings["optimizer.lr"]) - best_lr
    weight = math.log10(settings["regularizer.weight"]) - 1.0
    beta1, beta2 = settings["optimizer.beta1"] - 0.5, settings["optimizer.beta2"] - 0.9
    n_disc = 0.1 if settings["training.n_disc"] == 1 else 0.0
    bowl = 1.2 * (lr + 0.4 * beta1) ** 2 + 0.15 * weight**2 + 1.5 * beta1**2 + 2.0 * beta2**2
    ripple = 0.05 * math.sin(9 * lr) * math.cos(5 * weight)
    return float(floor * 10 ** min(2.0, bowl + n_disc + abs(ripple)))


def diverging(settings: Settings, chance: float) -> float | None:
    """Return the same, or None for 30% of the space: high learning rates, and one in ten."""
    if chance < 0.1 or math.log10(settings["optimizer.lr"]) > -2.67:
        return None
    return gan(settings, chance)


Problem = tuple[Space, Callable[[Settings, float], float | None], float]
"""Space, function, and what is taken from its values in tables."""
PROBLEMS: dict[str, Problem] = {
    "hartmann6": (HARTMANN, hartmann6, _HARTMANN_MINIMUM),
    "gan": (GAN, gan, 0.0),
    "diverging": (GAN, diverging, 0.0),
}


def ours(method: str, problem: Problem, trials: int, seed: int) -> list[float]:
    """Run one of ours; return the best value after each trial."""
    name, options = OURS[method]
    space, function, offset = problem
    chances = np.random.default_rng(seed).random(trials)
    history: list[tuple[Settings, float | None]] = []
    for chance in chances:
        settings = suggest(name, space, f"seed {seed}", options, history, [])
        assert settings is not None
        history.append((settings, function(settings, float(chance))))
    return best_so_far([value for _, value in history], offset)


def theirs(method: str, problem: Problem, trials: int, seed: int) -> list[float]:
    """Run one of optuna's; a failure is told the worst value, as GPSampler knows no failures."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    kinds = {"optuna gp": optuna.samplers.GPSampler, "optuna tpe": optuna.samplers.TPESampler}
    study = optuna.create_study(sampler=kinds[method](seed=seed))
    space, function, offset = problem
    values: list[float | None] = []
    for chance in np.random.default_rng(seed).random(trials):
        trial = study.ask()
        settings: Settings = {}
        for key, dimension in space.dimensions.items():
            if isinstance(dimension, Choice):
                settings[key] = trial.suggest_categorical(key, dimension.options)
            else:
                settings[key] = trial.suggest_float(
                    key, dimension.low, dimension.high, log=dimension.log
                )
        value = function(settings, float(chance))
        values.append(value)
        known = [each for each in values if each is not None]
        told = value if value is not None else max(known, default=1e4)
        # FID spans decades: both see what ours model
        study.tell(trial, math.log10(told) if space is GAN else told)
    return best_so_far(values, offset)


def best_so_far(values: list[float | None], offset: float) -> list[float]:
    """Return the best value after each trial; infinite before the first success."""
    finite = [math.inf if value is None else value - offset for value in values]
    return list(map(float, np.minimum.accumulate(finite)))


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return a 95% bootstrap interval of the median."""
    if len(set(values)) < 2:
        return float(values[0]), float(values[0])
    found = bootstrap(
        (values,), np.median, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return float(found.low), float(found.high)


def run(names: list[str], seeds: int, trials: int) -> pd.DataFrame:
    """Run all methods on problems; print tables as they come."""
    rows = []
    for name in names:
        shown = [n for n in SHOWN if n <= trials]
        print(f"\n{name}: median best after n trials, {seeds} seeds [95% interval]")
        print(f"{'':<14}" + "".join(f"{n:>26}" for n in shown) + f"{'ms/ask':>9}")
        for method in (*OURS, *THEIRS):
            start = time.perf_counter()
            call = ours if method in OURS else theirs
            curves = np.array([call(method, PROBLEMS[name], trials, s) for s in range(seeds)])
            each = (time.perf_counter() - start) / seeds / trials * 1000
            cells = ""
            for n in range(1, trials + 1):
                low, high = interval(curves[:, n - 1])
                median = float(np.median(curves[:, n - 1]))
                rows.append((name, method, n, median, low, high))
                if n in shown:
                    cells += f"{f'{median:.4g} [{low:.4g}, {high:.4g}]':>26}"
            print(f"{method:<14}{cells}{each:>9.0f}", flush=True)
    columns = ["problem", "method", "trials", "median", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def draw(curves: pd.DataFrame, path: Path) -> None:
    """Draw the curves with their intervals."""
    names = list(dict.fromkeys(curves["problem"]))
    figure = Figure(figsize=(5 * len(names), 4), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        part = curves[(curves["problem"] == name) & np.isfinite(curves["high"])]
        for method, group in part.groupby("method", sort=False):
            (line,) = axes.plot(group["trials"], group["median"], label=method)
            axes.fill_between(
                group["trials"], group["low"], group["high"], alpha=0.15, color=line.get_color()
            )
        axes.set(title=name, xlabel="trials", ylabel="best so far", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=120)


def costs() -> None:
    """Print what an ask costs."""
    print("\nseconds of one ask, gan space, 12 pending, one thread")
    print(f"{'observations':>13}" + "".join(f"{name:>12}" for name in ("lcb", "ei", "hedge")))
    rng = np.random.default_rng(0)
    for count in (50, 100, 200, 400, 1000):
        drawn = [GAN.sample(rng) for _ in range(count + 12)]
        history = [(settings, gan(settings, 1.0)) for settings in drawn[:count]]
        text = f"{count:>13}"
        for name in ("lcb", "ei", "hedge"):
            start = time.perf_counter()
            suggest("gaussian_process", GAN, "k", {"acquisition": name}, history, drawn[count:])
            text += f"{time.perf_counter() - start:>12.2f}"
        print(text, flush=True)


def main() -> None:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PROBLEMS)}, costs; none: all")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("results") / "benchmarks" / "search")
    chosen = parser.parse_args()
    parts = chosen.parts or [*PROBLEMS, "costs"]
    if "costs" in parts:
        costs()
    names = [name for name in PROBLEMS if name in parts]
    if names:
        curves = run(names, chosen.seeds, chosen.trials)
        chosen.out.mkdir(parents=True, exist_ok=True)
        curves.to_csv(chosen.out / "curves.csv", index=False)
        draw(curves, chosen.out / "curves.png")
        print(f"\n{chosen.out / 'curves.csv'}, {chosen.out / 'curves.png'}")


if __name__ == "__main__":
    main()
