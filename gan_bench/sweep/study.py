"""A study: cells to compare, settings to try in each, seeds, and what is compared.

A `Study` is resolved: every cell is listed with its overrides, fixed settings and space. It is
what study.yaml in a study directory holds; `study_file` reads what people write.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from gan_bench import config as configs
from gan_bench import files
from gan_bench.config import Config
from gan_bench.errors import ConfigError, StudyError
from gan_bench.sweep.fields import read_fields
from gan_bench.sweep.halving import EarlyStopping
from gan_bench.sweep.limits import Budget, Retries, StopRules
from gan_bench.sweep.objective import Objective
from gan_bench.sweep.space import Settings, Space, canonical, render, to_overrides
from gan_bench.sweep.store import Trial

SCHEMA = 1
FILE = "study.yaml"

_SHOWN, _WIDTH = 6, 120
"""Differences that an error line lists, and letters of each."""


@dataclasses.dataclass(frozen=True)
class Bandit:
    """The search that follows the fixed settings, one for each cell."""

    trials: int = 0
    """Settings it tries in a cell."""
    suggester: str = "gaussian_process"
    """gaussian_process (gp), random, sobol or grid."""
    acquisition: str = "lcb"
    """What the Gaussian process minimizes: lcb, ei or hedge."""
    kappa: float = 1.96
    """How much uncertainty attracts (lcb)."""
    xi: float = 0.0
    """What counts as an improvement (ei)."""
    random_starts: int = 5
    """Settings known in a cell, fixed ones included, before its model is used."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the trials of each setting; their median is what the search sees."""
    seed: int = 0
    """Seed of the search itself."""
    mode: str = "steady"
    """steady: a setting is chosen whenever a slot is free; batch: as many as `batch` at a time,
    once all trials of the cell before them have finished (as in The GAN Landscape)."""
    batch: int = 10
    """Settings of a round in mode batch."""

    @property
    def options(self) -> dict[str, Any]:
        """What a suggester can be told."""
        names = ("acquisition", "kappa", "xi", "random_starts")
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One combination of methods, searched by itself."""

    name: str
    """Its labels, joined by slashes ("wasserstein/spectral_norm")."""
    axes: dict[str, str]
    """Axis -> label."""
    overrides: list[str]
    space: Space = dataclasses.field(default_factory=Space)
    fixed: list[Settings] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Study:
    """A resolved study."""

    name: str
    objective: Objective
    base: list[str]
    """Overrides of every trial."""
    cells: list[Cell]
    seeds: tuple[int, ...] = (0,)
    """Seeds of the trials of each fixed setting."""
    bandit: Bandit = dataclasses.field(default_factory=Bandit)
    early_stopping: EarlyStopping | None = None
    budget: Budget = dataclasses.field(default_factory=Budget)
    stop: StopRules = dataclasses.field(default_factory=StopRules)
    retries: Retries = dataclasses.field(default_factory=Retries)
    engine: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Where it runs unless the command line says otherwise: name, and the engine's options."""

    def base_config(self) -> Config:
        """Compose what all trials share; where cells choose a part, it is the default one."""
        return configs.compose(self.base)

    def bandit_settings(self, cell: Cell) -> int:
        """Return how many settings the search can try in a cell: a finite space has an end."""
        if cell.space.size is None:
            return self.bandit.trials
        used = sum(settings in cell.space for settings in cell.fixed)
        return max(0, min(self.bandit.trials, cell.space.size - used))

    def trials_of(self, cell: Cell) -> tuple[int, int]:
        """Return how many trials of fixed settings and of searched ones a cell will have."""
        searched = self.bandit_settings(cell) * len(self.bandit.seeds)
        return len(cell.fixed) * len(self.seeds), searched

    @property
    def total(self) -> int:
        """How many trials there will be."""
        return sum(sum(self.trials_of(cell)) for cell in self.cells)

    def typical_config(self, cell: Cell) -> Config:
        """Compose a cell's first fixed setting, or one from its space."""
        settings = cell.fixed[0] if cell.fixed else cell.space.sample(np.random.default_rng(0))
        return configs.compose([*self.base, *cell.overrides, *to_overrides(settings)])

    def trial(self, cell: Cell, settings: Settings, source: str, index: int, seed: int) -> Trial:
        """Make the record of a trial.

        Its id depends on the study's name, the cell, the settings and the seed only, so that a
        restarted study meets its own trials.
        """
        settings = canonical(settings)
        return Trial(
            trial_id=files.digest([self.name, cell.axes, settings, seed]),
            cell=cell.name,
            axes=cell.axes,
            settings=settings,
            source=source,
            index=index,
            seed=seed,
            overrides=[*cell.overrides, *to_overrides(settings), render("seed", seed)],
        )

    def config(self, trial: Trial, run_dir: Path) -> Config:
        """Compose a trial's config (ConfigError if its settings are refused)."""
        return configs.compose([*self.base, *trial.overrides, render("run_dir", str(run_dir))])

    def to_dict(self) -> dict[str, Any]:
        """Return the study as plain containers, as study.yaml holds it."""
        plain = dataclasses.asdict(dataclasses.replace(self, cells=[]))
        cells = [{**dataclasses.asdict(cell), "space": cell.space.to_dict()} for cell in self.cells]
        bandit = {**plain["bandit"], "seeds": list(self.bandit.seeds)}
        return {
            "schema": SCHEMA,
            **plain,
            "cells": cells,
            "seeds": list(self.seeds),
            "bandit": bandit,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Study:
        """Read what `to_dict` returned (StudyError for another schema)."""
        if plain.get("schema") != SCHEMA:
            raise StudyError(
                f"it has schema {plain.get('schema')}, this version reads {SCHEMA}; "
                "use the version of gan_bench that wrote it"
            )
        bandit = plain["bandit"]
        return cls(
            name=plain["name"],
            objective=Objective(**plain["objective"]),
            base=list(plain["base"]),
            cells=[
                Cell(**{**cell, "space": Space.parse(cell["space"])}) for cell in plain["cells"]
            ],
            seeds=tuple(plain["seeds"]),
            bandit=Bandit(**{**bandit, "seeds": tuple(bandit["seeds"])}),
            **rules(plain),
            engine=dict(plain.get("engine") or {}),
        )

    def identity(self) -> dict[str, Any]:
        """Return what may not change under a study that has begun.

        The number of settings to search may: more of them go on where the search stopped. So may
        what limits the study, and what says where and how trials run.
        """
        plain = self.to_dict()
        runtime = configs.runtime_fields(self.base_config().dataset["name"])
        del plain["bandit"]["trials"]
        for name in ("budget", "stop", "retries", "engine"):
            del plain[name]
        plain["base"] = {
            key_of(override): override for override in self.base if key_of(override) not in runtime
        }
        plain["cells"] = {cell.pop("name"): cell for cell in plain["cells"]}
        return plain

    def check(self) -> None:
        """Compose a config of each kind in each cell: mistakes show before anything has run.

        Raises:
            ConfigError: A choice or field is unknown, or a value of the wrong type.
        """
        for cell in self.cells:
            probes: dict[tuple[str, ...], Settings] = {}
            for settings in cell.fixed:
                probes.setdefault(tuple(settings), settings)
            samples = list(probes.values())
            if self.bandit_settings(cell):
                samples.append(cell.space.sample(np.random.default_rng(0)))
            for settings in samples:
                try:
                    configs.compose([*self.base, *cell.overrides, *to_overrides(settings)])
                except ConfigError as error:
                    raise ConfigError(f"cell {cell.name}: {error}") from None


def rules(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Read the fields early_stopping, budget, stop and retries of a study.

    Raises:
        ConfigError: A field of one is unknown, or a value of the wrong type or out of range.
    """
    halving = plain.get("early_stopping")
    return {
        "early_stopping": None
        if halving is None
        else read_fields(EarlyStopping, "early_stopping", halving),
        "budget": read_fields(Budget, "budget", plain.get("budget") or {}),
        "stop": read_fields(StopRules, "stop", plain.get("stop") or {}),
        "retries": read_fields(Retries, "retries", plain.get("retries") or {}),
    }


def key_of(override: str) -> str:
    """Return what an override sets: "loss" for "loss=hinge", "+loss=hinge" and "~loss"."""
    return override.partition("=")[0].lstrip("+~")


def save_study(study: Study, study_dir: Path) -> None:
    """Write study.yaml; a study directory begun with another study is refused.

    Raises:
        StudyError: The directory holds a study that differs; the line lists in what.
        StorageError: It can't be written.
    """
    path = study_dir / FILE
    if path.exists():
        earlier = read_study(study_dir)
        changed = configs.differences(earlier.identity(), study.identity())
        if changed:
            more = f"; and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
            listed = [text if len(text) <= _WIDTH else f"{text[:_WIDTH]}..." for text in changed]
            raise StudyError(
                f"{study_dir} holds another study ({'; '.join(listed[:_SHOWN])}{more}); "
                "use another study_dir, with fork=OLD_STUDY_DIR to take over the trials that stay "
                "what they were"
            )
        if earlier.to_dict() == study.to_dict():
            return
    files.write_text(path, OmegaConf.to_yaml(OmegaConf.create(study.to_dict())))


def read_study(study_dir: Path) -> Study:
    """Read the study of a study directory.

    Raises:
        StudyError: There is none, or it is unreadable or from an incompatible version.
    """
    path = study_dir / FILE
    try:
        plain = files.read_yaml(path, what="study", error=StudyError)
    except FileNotFoundError:
        raise StudyError(f"{path} is missing; is {study_dir} a study directory?") from None
    try:
        return Study.from_dict(plain)
    except (StudyError, ConfigError) as error:
        raise StudyError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StudyError(f"{path} can't be read: {error!r} in its fields") from None
