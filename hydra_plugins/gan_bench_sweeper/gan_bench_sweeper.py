"""`gan-bench train --multirun hydra/sweeper=gan_bench ...`: Hydra's Sweeper API on our driver.

    gan-bench train --multirun hydra/sweeper=gan_bench hydra.sweeper.trials=8 \
        loss=hinge,wasserstein seed=0,1 'optimizer.lr=tag(log, interval(1e-4, 1e-2))'

Sweeps over groups are the study's cells, a sweep over seed its seeds, all other sweeps and
intervals its space, and the rest its base. Hydra imports this module whenever it starts, so
what is heavy is imported when a sweep does. Hydra's scanner runs it before it stands in
sys.modules, where dataclasses look annotations up that are strings: so they are not.
"""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class GanBenchSweeperConfig:
    """The node hydra.sweeper; the fields of the search are those of `gan_bench.sweep.Bandit`."""

    _target_: str = "hydra_plugins.gan_bench_sweeper.gan_bench_sweeper.GanBenchSweeper"
    name: str = "multirun"
    study_dir: str | None = None
    """None: results/studies/<name>-<digest of the study>, so the same command goes on with it."""
    engine: str = "inline"
    engine_options: dict[str, Any] = field(default_factory=dict)
    """The engine's own: hydra.sweeper.engine_options={slots:4}."""
    trials: int = 10
    """Settings tried in each cell; a sweep without intervals ends when all have been."""
    suggester: str = "gaussian_process"
    acquisition: str = "lcb"
    kappa: float = 1.96
    random_starts: int = 5
    search_seed: int = 0
    seeds: list[int] = field(default_factory=lambda: [0])
    metric: str = "fid"
    mode: str = "min"
    at: str = "best"
    retry_failed: bool = False


ConfigStore.instance().store(
    group="hydra/sweeper", name="gan_bench", node=GanBenchSweeperConfig, provider="gan_bench"
)


class GanBenchSweeper(Sweeper):
    """Turns a multirun into a study and runs it."""

    def __init__(self, **options: Any) -> None:
        """Keep the fields of `GanBenchSweeperConfig`."""
        self.options = GanBenchSweeperConfig(**options)
        self.hydra_context: HydraContext | None = None
        self.config: DictConfig | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra hands over. The task is not used: a study's trials resume by themselves.

        Args:
            hydra_context: Knows the groups.
            task_function: Hydra's face of a single run.
            config: The composed config.
        """
        self.hydra_context, self.config = hydra_context, config

    def sweep(self, arguments: list[str]) -> Any:
        """Run the study; return its `gan_bench.sweep.Summary`.

        Args:
            arguments: The overrides of the command line, without Hydra's own.

        Raises:
            GanBenchError: As `gan_bench.sweep.run_study`.
        """
        from pathlib import Path

        from hydra.core.global_hydra import GlobalHydra

        from gan_bench import files
        from gan_bench.sweep import build_engine, build_study, run_study
        from gan_bench.terminal import StudyPrinter

        options = self.options
        engine_options = dict(options.engine_options)
        content = self.content(arguments)
        GlobalHydra.instance().clear()  # there can be one, and composing configs starts its own
        study = build_study(content)
        label = f"{options.name}-{files.digest(study.identity(), 8)}"
        folder = Path(options.study_dir or Path("results") / "studies" / label)
        return run_study(
            study,
            folder,
            engine=build_engine(options.engine, folder, engine_options),
            engine_options=engine_options,
            on_event=StudyPrinter(),
            retry_failed=options.retry_failed,
        )

    def content(self, arguments: list[str]) -> dict[str, Any]:
        """Return the study file that a command line stands for."""
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        options = self.options
        base: list[str] = []
        cells: dict[str, list[Any]] = {}
        space: dict[str, str] = {}
        seeds = list(options.seeds)
        for override in OverridesParser.create(config_loader=loader).parse_overrides(arguments):
            key = override.get_key_element().lstrip("+")
            if not override.is_sweep_override():
                base.append(str(override.input_line))
            elif key == "seed" and override.is_discrete_sweep():
                seeds = [_plain(value) for value in override.sweep_iterator()]
            elif override.is_discrete_sweep() and loader.get_group_options(key):
                cells[key] = self._choices(key, override)
            else:
                space[key] = str(override.input_line).partition("=")[2]
        return {
            "name": options.name,
            "objective": {"metric": options.metric, "mode": options.mode, "at": options.at},
            "base": base,
            "cells": cells,
            "settings": {
                "space": space,
                "bandit": {
                    "trials": options.trials,
                    "suggester": options.suggester,
                    "acquisition": options.acquisition,
                    "kappa": options.kappa,
                    "random_starts": options.random_starts,
                    "seed": options.search_seed,
                },
            },
            "seeds": seeds,
        }

    def _choices(self, group: str, override: Override) -> list[Any]:
        """List a group's choices; a name and its alias (loss=glob(*)) are one."""
        from gan_bench.config import GROUPS

        choices = [_plain(value) for value in override.sweep_iterator()]
        if group in GROUPS:
            choices = [GROUPS[group].canonical(str(choice)) for choice in choices]
        return list(dict.fromkeys(choices))


def _plain(value: Any) -> Any:
    """Return an element of a sweep without the quotes it was written with."""
    return getattr(value, "text", value)
