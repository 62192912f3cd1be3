"""Study files, as people write them (sweeps/*.yaml), turned into a `Study`.

name: demo                                  # default: the file's name
objective: {metric: fid, mode: min, at: best}
base: [dataset=digits, training.steps=600]  # overrides of every trial
cells:                                      # the product of the axes
  loss: [non_saturating, wasserstein]       # choices of a group
  method:                                   # or cells with names of their own
    none: []
    spectral_norm: [normalizer=spectral_norm]
    gradient_penalty:
      overrides: [regularizer=gradient_penalty]
      space: {regularizer.weight: "tag(log, interval(0.1, 100))"}
      fixed: {regularizer.weight: 10}       # for fixed settings that don't set it
exclude: [{loss: wasserstein, method: none}]  # combinations of labels that are no cells
settings:
  fixed: [{optimizer.lr: [1e-4, 2e-4]}]     # a list of values is one setting for each
  grid: {optimizer.beta1: [0, 0.5]}         # the product of lists, after the fixed ones
  space: {optimizer.lr: "tag(log, interval(1e-5, 1e-2))"}
  bandit: {trials: 4}                       # the fields of `Bandit`; or rounds and batch
  random: {trials: 4}                       # in its place: a bandit that draws at random
  best_of: DIR                              # in place of all: each cell's best in another study
seeds: [0, 1]                               # of the fixed settings; bandit.seeds: those or others
early_stopping: {eta: 3, min_steps: 1000}   # `EarlyStopping`
stop: {patience: 20, target: 10}            # `StopRules`
budget: {trials: 500, gpu_hours: 100}       # `Budget`
retries: {lost: 3}                          # `Retries`
engine: {name: local, slots: 4}             # where it runs if the command line doesn't say

`include` and `define` make it of parts; see `parts`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gan_bench import config as configs
from gan_bench.errors import ConfigError, StudyError, require, unknown
from gan_bench.sweep import parts
from gan_bench.sweep.objective import Objective
from gan_bench.sweep.scale import scale_study
from gan_bench.sweep.space import Settings, Space, render
from gan_bench.sweep.store import best_trial, read_trials
from gan_bench.sweep.study import Bandit, Cell, Study, key_of, read_study, rules
from gan_bench.sweep.suggest import SUGGESTERS

_RULES = ("early_stopping", "stop", "budget", "retries")
_FIELDS = ("name", "objective", "base", "cells", "exclude", "settings", "seeds", *_RULES, "engine")
_ON_THE_COMMAND_LINE = ("objective", "settings", "seeds", *_RULES)
_OWN_KEYS = ("seed", "run_dir")
"""Fields of a run that the study sets itself."""


def load_study(name_or_path: str, overrides: Sequence[str] = (), *, scale: float = 1.0) -> Study:
    """Read a study file.

    Args:
        name_or_path: A file in sweeps/ without its ending ("demo", "landscape/loss"), or a path.
        overrides: Appended to the study's base; those of the study's own fields change the study
            itself (settings.bandit.trials=2, seeds=[0,1], budget.gpu_hours=10).
        scale: Share of its size; see `scale_study`.

    Raises:
        StudyError: There is no such file, or it is unreadable.
        ConfigError: A field, choice or range in it is wrong.
    """
    path = _find(name_or_path)
    own = [override for override in overrides if _stem(override) in _ON_THE_COMMAND_LINE]
    rest = [override for override in overrides if override not in own]
    try:
        content = parts.resolve(parts.read_file(path))
        merged = OmegaConf.merge(OmegaConf.create(content), OmegaConf.from_dotlist(own))
        plain = OmegaConf.to_container(merged)
        assert isinstance(plain, dict)
        named = {"name": path.stem, **{str(key): value for key, value in plain.items()}}
        return scale_study(build_study(named, rest), scale)
    except OmegaConfBaseException as error:
        raise ConfigError(f"study {path}: {str(error).splitlines()[0]}") from None
    except ConfigError as error:
        raise ConfigError(f"study {path}: {error}") from None


def build_study(content: Mapping[str, Any], overrides: Sequence[str] = ()) -> Study:
    """Resolve the content of a study file, and check that a config of each cell composes.

    Args:
        content: The file's fields.
        overrides: Appended to the study's base; they may not set what its cells vary.

    Raises:
        ConfigError: A field, choice or range is wrong.
    """
    _known("field of the study", content, _FIELDS)
    name = content.get("name")
    require(isinstance(name, str) and bool(name), "the study has no name")
    base = _overrides("base", content.get("base"))
    replaced = {key_of(override) for override in overrides}
    base = [override for override in base if key_of(override) not in replaced]
    base += _overrides("the command line", list(overrides))
    configs.load_plugins_of(base)
    for override in base:
        if key_of(override) in _OWN_KEYS:
            raise ConfigError(f"'{override}': a study sets {key_of(override)} itself")

    settings = _mapping("settings", content.get("settings"))
    _known("field of settings", settings, ("fixed", "grid", "space", "bandit", "random", "best_of"))
    axes = _mapping("cells", content.get("cells"))
    cells = _cells(axes, settings, _exclusions(axes, content.get("exclude")))
    if settings.get("best_of"):
        cells = _with_best(cells, Path(str(settings["best_of"])))
    for cell in cells:
        varied = {*map(key_of, cell.overrides), *cell.space.dimensions, *_keys(cell.fixed)}
        for override in overrides:
            if key_of(override) in varied:
                raise ConfigError(
                    f"'{override}': the study varies {key_of(override)} itself "
                    f"(cell {cell.name}); leave it out, or change the study file"
                )
    seeds = _seeds("seeds", content.get("seeds", [0]))
    study = Study(
        name=str(name),
        objective=_objective(_mapping("objective", content.get("objective"))),
        base=base,
        cells=cells,
        seeds=seeds,
        bandit=_bandit(_search(settings), seeds),
        **rules({field: _mapping(field, content[field]) for field in _RULES if content.get(field)}),
        engine=_mapping("engine", content.get("engine")),
    )
    require(study.total > 0, f"study {name} has no trials; give settings.fixed or bandit.trials")
    study.check()
    return study


@dataclasses.dataclass
class _Branch:
    """One label of an axis."""

    label: str
    overrides: list[str]
    space: dict[str, Any] = dataclasses.field(default_factory=dict)
    fixed: dict[str, Any] = dataclasses.field(default_factory=dict)


def _cells(
    axes: dict[str, Any], settings: dict[str, Any], exclusions: list[dict[str, str]]
) -> list[Cell]:
    shared = Space.parse(_mapping("settings.space", settings.get("space"))).dimensions
    rows = settings.get("fixed") or []
    require(isinstance(rows, list), "settings.fixed must be a list of settings")
    fixed = [_mapping("a setting of settings.fixed", row) for row in rows]
    grid = _mapping("settings.grid", settings.get("grid"))
    fixed += [grid] if grid else []
    cells: list[Cell] = []
    for branches in product(*(_branches(axis, spec) for axis, spec in axes.items())):
        labels = {axis: branch.label for axis, branch in zip(axes, branches, strict=True)}
        if any(excluded.items() <= labels.items() for excluded in exclusions):
            continue
        dimensions, defaults = dict(shared), {}
        for branch in branches:
            dimensions.update(Space.parse(branch.space).dimensions)
            defaults.update(branch.fixed)
        space = Space(dimensions)
        name = "/".join(branch.label for branch in branches) or "all"
        require(all(name != cell.name for cell in cells), f"cells: {name} comes twice")
        cells.append(
            Cell(
                name=name,
                axes=labels,
                overrides=[override for branch in branches for override in branch.overrides],
                space=space,
                fixed=_expand(({**defaults, **row} for row in fixed), space),
            )
        )
    require(bool(cells), "exclude leaves no cells")
    return cells


def _with_best(cells: list[Cell], study_dir: Path) -> list[Cell]:
    """Give each cell the best setting of its namesake in another study; see `best_trial`."""
    earlier = read_study(study_dir)
    trials = read_trials(study_dir)
    found = []
    for cell in cells:
        best = best_trial(earlier.objective, [trial for trial in trials if trial.cell == cell.name])
        if best is None:
            raise StudyError(
                f"settings.best_of: {study_dir} has no trial with a value in cell {cell.name}"
            )
        found.append(dataclasses.replace(cell, fixed=[best.settings]))
    return found


def _exclusions(axes: dict[str, Any], given: Any) -> list[dict[str, str]]:
    """Read combinations to leave out; each must name labels that there are."""
    require(given is None or isinstance(given, list), "exclude must be a list of combinations")
    found = []
    for row in given or []:
        combination = _mapping("a combination of exclude", row)
        require(bool(combination), "exclude has an empty combination, which would leave no cells")
        _known("axis in exclude", combination, axes)
        for axis, label in combination.items():
            labels = [branch.label for branch in _branches(axis, axes[axis])]
            if axis in configs.GROUPS:
                label = configs.GROUPS[axis].canonical(str(label))
            if str(label) not in labels:
                raise unknown(f"{axis} in exclude", label, labels)
            combination[axis] = str(label)
        found.append(combination)
    return found


def _branches(axis: str, spec: Any) -> list[_Branch]:
    require(bool(spec), f"cells.{axis} is empty; list choices, or map names to overrides")
    if isinstance(spec, list):
        return [_choice(axis, choice) for choice in spec]
    require(isinstance(spec, dict), f"cells.{axis} must be a list or a mapping")
    branches = []
    for label, content in spec.items():
        where = f"cells.{axis}.{label}"
        if not isinstance(content, dict):
            branches.append(_Branch(str(label), _overrides(where, content)))
            continue
        _known(f"field of {where}", content, ("overrides", "space", "fixed"))
        branches.append(
            _Branch(
                str(label),
                _overrides(f"{where}.overrides", content.get("overrides")),
                _mapping(f"{where}.space", content.get("space")),
                _mapping(f"{where}.fixed", content.get("fixed")),
            )
        )
    return branches


def _choice(axis: str, choice: Any) -> _Branch:
    if axis in configs.GROUPS:
        choice = configs.GROUPS[axis].canonical(str(choice))
    return _Branch(str(choice), [render(axis, choice)])


def _expand(rows: Iterable[dict[str, Any]], space: Space) -> list[Settings]:
    """Multiply lists of values out; settings that come twice are kept once."""
    found: list[Settings] = []
    for row in rows:
        values = [value if isinstance(value, list) else [value] for value in row.values()]
        for combination in product(*values):
            settings = space.conform(dict(zip(row, combination, strict=True)))
            if settings not in found:
                found.append(settings)
    return found


def _objective(plain: dict[str, Any]) -> Objective:
    _known("field of objective", plain, _names(Objective))
    objective = Objective(**plain)
    for field, known in (("mode", ("min", "max")), ("at", ("best", "final"))):
        if getattr(objective, field) not in known:
            raise unknown(f"objective.{field}", getattr(objective, field), known)
    return objective


def _search(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the search: settings.bandit, or settings.random, a bandit by chance."""
    bandit = _mapping("settings.bandit", settings.get("bandit"))
    random = _mapping("settings.random", settings.get("random"))
    require(
        not (bandit and random),
        "settings.bandit and settings.random are both set; give one of them",
    )
    if random:
        require("suggester" not in random, "settings.random has no suggester: it draws at random")
        return {**random, "suggester": "random"}
    if "rounds" in bandit:
        rounds, batch = bandit.pop("rounds"), bandit.get("batch", Bandit.batch)
        require("trials" not in bandit, "settings.bandit has rounds and trials; give one of them")
        require(
            type(rounds) is int and type(batch) is int,
            "settings.bandit.rounds and batch must be whole numbers",
        )
        bandit["trials"] = rounds * batch
    return bandit


def _bandit(plain: dict[str, Any], seeds: tuple[int, ...]) -> Bandit:
    _known("field of settings.bandit", plain, _names(Bandit))
    bandit = Bandit(
        **{**plain, "seeds": _seeds("settings.bandit.seeds", plain.get("seeds") or list(seeds))}
    )
    if bandit.suggester not in SUGGESTERS:
        raise unknown("settings.bandit.suggester", bandit.suggester, SUGGESTERS)
    if bandit.mode not in ("steady", "batch"):
        raise unknown("settings.bandit.mode", bandit.mode, ("steady", "batch"))
    for field, low in (("trials", 0), ("random_starts", 1), ("seed", 0), ("batch", 1)):
        value = getattr(bandit, field)
        require(
            isinstance(value, int) and not isinstance(value, bool) and value >= low,
            f"settings.bandit.{field} is {value}; it must be a whole number, at least {low}",
        )
    for field in ("kappa", "xi"):
        value = getattr(bandit, field)
        require(
            isinstance(value, (int, float)) and value >= 0,
            f"settings.bandit.{field} is {value}; it must be a number, not negative",
        )
    return bandit


def _seeds(where: str, value: Any) -> tuple[int, ...]:
    seeds = value if isinstance(value, list) else [value]
    require(
        bool(seeds) and all(type(seed) is int and seed >= 0 for seed in seeds),
        f"{where} is {value}; it must be a list of whole numbers, not negative",
    )
    require(len(set(seeds)) == len(seeds), f"{where} is {value}; a seed comes twice")
    return tuple(seeds)


def _overrides(where: str, value: Any) -> list[str]:
    """Return overrides given as a list, or as one string."""
    listed = [value] if isinstance(value, str) else value or []
    require(isinstance(listed, list), f"{where} must be a list of overrides")
    for override in listed:
        require(
            isinstance(override, str) and ("=" in override or override.startswith("~")),
            f"{where}: '{override}' is no override; write it as field=value",
        )
    return list(listed)


def _mapping(where: str, value: Any) -> dict[str, Any]:
    require(value is None or isinstance(value, Mapping), f"{where} must be a mapping")
    return {str(key): item for key, item in (value or {}).items()}


def _known(kind: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    names = list(known)
    for key in given:
        if key not in names:
            raise unknown(kind, key, names)


def _names(record: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(record)]


def _keys(rows: list[Settings]) -> set[str]:
    return {key for row in rows for key in row}


def _stem(override: str) -> str:
    return key_of(override).partition(".")[0]


def study_names() -> list[str]:
    """Return the names of the studies in sweeps/; what a name with an underscore holds is none."""
    folder = configs.resource_dir("sweeps")
    names = (path.relative_to(folder).with_suffix("") for path in folder.rglob("*.yaml"))
    return sorted(str(name) for name in names if not any(p.startswith("_") for p in name.parts))


def _find(name_or_path: str) -> Path:
    folder = configs.resource_dir("sweeps")
    for path in (folder / f"{name_or_path}.yaml", Path(name_or_path)):
        if path.is_file():
            return path
    if name_or_path.endswith((".yaml", ".yml")):
        raise StudyError(f"study file {name_or_path} is missing")
    raise StudyError(str(unknown("study", name_or_path, study_names())))
