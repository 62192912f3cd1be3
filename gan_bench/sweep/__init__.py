"""Studies: many trials over cells, settings and seeds, resumable, on any engine."""

from gan_bench.sweep.driver import StudyEvent, Summary, run_study
from gan_bench.sweep.engines import ENGINES, Ended, Engine, TrialFunction, build_engine
from gan_bench.sweep.space import Choice, Interval, Space
from gan_bench.sweep.store import Trial, TrialStore, read_trials
from gan_bench.sweep.study import Bandit, Cell, Objective, Study, read_study
from gan_bench.sweep.study_file import build_study, load_study

__all__ = [
    "ENGINES",
    "Bandit",
    "Cell",
    "Choice",
    "Ended",
    "Engine",
    "Interval",
    "Objective",
    "Space",
    "Study",
    "StudyEvent",
    "Summary",
    "Trial",
    "TrialFunction",
    "TrialStore",
    "build_engine",
    "build_study",
    "load_study",
    "read_study",
    "read_trials",
    "run_study",
]
