"""What the command line prints while it works: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gan_bench.evaluation import figures
from gan_bench.listener import RunListener
from gan_bench.metric_keys import measures
from gan_bench.sweep import STATUSES, Objective, Study, StudyEvent, StudyStatus, Trial
from gan_bench.sweep.cost import CellCost
from gan_bench.sweep.engines import CAUSES
from gan_bench.training.trainer import Progress

_LINE_SECONDS = 5.0
"""Plain lines come at most this often."""

_SHOWN = ("step", "fid", "is_mean", "kid_mean", "precision", "recall", "ms_ssim")
_SETTINGS = ("n_real", "n_fake", "split", "extractor", "resize", "quantization", "arithmetic")


class RunPrinter(RunListener):
    """Shows the progress of one run on standard error."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._total = 0
        self._last_line = 0.0

    def started(self, step: int, total: int, run_dir: Path) -> None:
        """Open the bar, or say where the run is."""
        self._total = total
        if sys.stderr.isatty():
            self._bar = tqdm(total=total, initial=step, unit="step", dynamic_ncols=True)
        else:
            where = f"from step {step}" if step else "from the start"
            print(f"training {run_dir}: {where} to {total} steps", file=sys.stderr, flush=True)

    def logged(self, step: int, progress: Progress, images_per_second: float) -> None:
        """Move the bar, or print a line if the last is old enough."""
        losses = f"d_loss {progress.d_loss:.4g} g_loss {progress.g_loss:.4g}"
        if self._bar is not None:
            self._bar.set_postfix_str(losses, refresh=False)
            self._bar.update(step - self._bar.n)
            if step >= self._total:
                self._bar.close()
        elif time.monotonic() - self._last_line > _LINE_SECONDS or step >= self._total:
            self._last_line = time.monotonic()
            print(
                f"step {step}/{self._total} {losses} {images_per_second:.0f} images/s",
                file=sys.stderr,
                flush=True,
            )

    def evaluated(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Print the evaluation's figures."""
        text = ", ".join(f"{key} {metrics[key]:.4g}" for key in shown_keys(metrics))
        tqdm.write(f"step {step}: {text}", file=sys.stderr)


class EvaluationPrinter:
    """Shows how far an evaluation's passes over the images are, on standard error."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._started = self._last_line = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Move the bar, or print a line if the last is old enough."""
        if sys.stderr.isatty():
            if self._bar is None or self._bar.desc != f"{what} images" or done < self._bar.n:
                self._bar = tqdm(
                    total=total, desc=f"{what} images", unit="image", dynamic_ncols=True
                )
            self._bar.update(done - self._bar.n)
            if done >= total:
                self._bar.close()
                self._bar = None
        elif time.monotonic() - self._last_line > _LINE_SECONDS:
            self._last_line = time.monotonic()
            print(f"{what} images: {done} of {total}", file=sys.stderr, flush=True)


class StudyPrinter:
    """Shows the progress of a study on standard error: a line for each finished trial."""

    def __call__(self, event: StudyEvent) -> None:
        """Print what has happened."""
        if event.kind == "started":
            rest = f", {event.done} done before" if event.done else ""
            self._line(f"{event.total} trials{rest}")
        if event.kind == "limited":
            self._line(f"no more trials are started: {event.reason}")
        trial = event.trial
        if trial is not None and event.kind == "interrupted":
            self._line(
                f"{trial.cell} {trial.source} seed {trial.seed}: {trial.state}, {trial.error}"
            )
        if event.kind != "finished" or trial is None:
            return
        value = "" if trial.objective is None else f" {trial.objective:.4g}"
        best = "" if event.best is None else f", best {event.best.objective:.4g} {event.best.cell}"
        left = "" if event.seconds_left is None else f", {_duration(event.seconds_left)} left"
        reason = f" ({trial.error})" if trial.error else ""
        self._line(
            f"[{event.done}/{event.total}] {trial.cell} {trial.source} seed {trial.seed}: "
            f"{trial.status}{value}{reason}{best}{left}"
        )

    def _line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def shown_keys(metrics: Mapping[str, Any]) -> list[str]:
    """Return the keys worth a line: the main figures, whatever extractor they carry."""
    return [
        key
        for stem in _SHOWN
        for key in metrics
        if measures(key, stem) and isinstance(metrics[key], (int, float))
    ]


def metric_table(columns: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay the main figures of several evaluations out as a table, a column each."""
    keys = list(dict.fromkeys(key for column in columns.values() for key in shown_keys(column)))
    width = max((len(key) for key in keys), default=0)
    lines = [" " * width + "".join(f"{name:>14}" for name in columns)]
    for key in keys:
        cells = "".join(
            f"{column[key]:>14.5g}" if column.get(key) is not None else f"{'-':>14}"
            for column in columns.values()
        )
        lines.append(f"{key:<{width}}{cells}")
    return "\n".join(lines)


def evaluation_table(result: Mapping[str, Any]) -> str:
    """Lay an evaluation out: each figure, with its interval if there were several sets."""
    found, spread = figures(result), result.get("uncertainty", {})
    width = max(map(len, found), default=0)
    lines = []
    for key, value in found.items():
        line = f"{key:<{width}}  {value:>10.5g}"
        if key in spread:
            each = spread[key]
            line += f"  +- {each['std']:<9.3g} 95% [{each['low']:.5g}, {each['high']:.5g}]"
        lines.append(line)
    shown = [f"{key} {result[key]}" for key in _SETTINGS if key in result]
    if "sets" in result:
        shown.append(f"mean of {result['sets']} sets")
    return "\n".join([*lines, ", ".join(shown)])


def comparison_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay the paired difference of two runs out; a star where its interval leaves out 0."""
    first, second, difference = (found[key] for key in ("first", "second", "difference"))
    width = max(map(len, difference), default=0)
    lines = [f"{'':<{width}}{'first':>12}{'second':>12}{'difference':>12}  95% interval"]
    for key, each in difference.items():
        star = " *" if each["low"] > 0 or each["high"] < 0 else ""
        lines.append(
            f"{key:<{width}}{first[key]:>12.5g}{second[key]:>12.5g}{each['mean']:>12.4g}"
            f"  [{each['low']:.4g}, {each['high']:.4g}]{star}"
        )
    return "\n".join([*lines, f"{first['sets']} paired sample sets; * the interval leaves out 0"])


def study_table(
    objective: Objective, best: Sequence[Trial], baselines: Mapping[str, Mapping[str, Any]]
) -> str:
    """Lay a study's outcome out: the best trial of each cell between floor and untrained G."""
    rows = [(trial.cell, trial.objective) for trial in best]
    names = {"real": "(real against real)", "untrained": "(untrained generator)"}
    for key, name in names.items():
        # baselines have no training: what they measured stands in for any checkpoint
        measured = {"status": "completed", "metrics": baselines[key], "best": baselines[key]}
        rows.append((name, objective.value(measured)))
    known = [(value, name) for name, value in rows if value is not None]
    known.sort(reverse=objective.mode == "max")
    width = max(len(name) for _, name in known) if known else 0
    lines = [f"{name:<{width}}  {value:10.4g}" for value, name in known]
    return "\n".join([f"best {objective.metric} of each cell:", *lines])


ASSUMED_SPEED = 20e12
"""FLOP/s that turn arithmetic into GPU-hours: an assumption, not a measurement."""


def cost_table(study: Study, costs: Sequence[CellCost], engine: str, slots: int) -> str:
    """Lay out what a study would be: cells, trials and the estimated time."""
    width = max(len("cell"), *(len(cost.cell) for cost in costs))
    lines = [
        f"{'cell':<{width}}{'fixed':>7}{'search':>8}{'s/step':>10}{'h/trial':>10}{'hours':>9}{'PFLOP':>9}"
    ]
    for cost in costs:
        figures = (cost.seconds_per_step, cost.hours_per_trial, cost.hours)
        step, trial, all_ = ("-" if value is None else f"{value:.3g}" for value in figures)
        lines.append(
            f"{cost.cell:<{width}}{cost.fixed:>7}{cost.searched:>8}{step:>10}{trial:>10}{all_:>9}"
            f"{cost.flops / 1e15:>9.3g}"
        )
    trials = sum(cost.trials for cost in costs)
    lines.append(f"{len(costs)} cells, {trials} trials; objective {study.objective.metric}")
    flops = sum(cost.flops for cost in costs)
    lines.append(
        f"{sum(cost.d_steps for cost in costs):.3g} D steps, {flops:.3g} floating-point operations "
        f"of training: {flops / ASSUMED_SPEED / 3600:.3g} GPU-hours if a GPU sustained "
        f"{ASSUMED_SPEED / 1e12:g} TFLOP/s"
    )
    hours = [cost.hours for cost in costs if cost.hours is not None]
    if hours:
        lines.append(
            f"about {sum(hours):.3g} device hours, {sum(hours) / slots:.3g} hours on engine "
            f"{engine} with {slots} slots, as timed on this machine (metrics' own time left out)"
        )
    return "\n".join(lines)


def status_table(found: StudyStatus) -> str:
    """Lay out how a study stands."""
    study, total = found.study, found.study.total
    order = ("proposed", "submitted", "running", *CAUSES, *STATUSES)
    states = [state for state in order if found.states[state]]
    width = max(len("cell"), *(len(cell.name) for cell in found.cells))
    head = "".join(f"{state:>11}" for state in states)
    lines = [
        f"{study.name}: {found.done} of {total} trials done",
        f"{'cell':<{width}}{head}{'best':>12}",
    ]
    for cell in found.cells:
        counts = "".join(f"{cell.states[state] or '-':>11}" for state in states)
        best = "-" if cell.best is None else f"{cell.best:.4g}"
        lines.append(f"{cell.name:<{width}}{counts}{best:>12}")
    for running in found.running:
        value = "" if running.value is None else f", {study.objective.metric} {running.value:.4g}"
        silent = f", silent for {_duration(running.silent_seconds)}"
        lines.append(
            f"running {running.trial.trial_id} {running.trial.cell} seed {running.trial.seed}: "
            f"step {running.step}/{running.total}{value} on {running.host}{silent}"
        )
    lines += [f"failed {t.trial_id} {t.cell} seed {t.seed}: {t.error}" for t in found.failed]
    pace, left = found.trials_per_hour, found.hours_left
    speed = "" if pace is None else f"{pace:.3g} trials/hour, "
    rest = "" if not left else f"about {_duration(left * 3600)} left, "
    lines.append(f"{speed}{rest}{found.gpu_hours:.3g} device hours used")
    holder = f"{found.driver.get('engine')} on {found.driver.get('host')}"
    if found.alive:
        lines.append(f"driver: at work, engine {holder} (process {found.driver.get('pid')})")
    elif found.done < total:
        lines.append(
            f"driver: none at work; go on with gan-bench sweep study_dir={found.study_dir}"
        )
    return "\n".join(lines)
