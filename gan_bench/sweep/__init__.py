"""Studies: many trials over cells, settings and seeds, resumable, on any engine."""

from gan_bench.sweep.cancel import cancel_study
from gan_bench.sweep.driver import StudyEvent, Summary, run_study
from gan_bench.sweep.engines import ENGINES, Ended, Engine, TrialFunction, build_engine
from gan_bench.sweep.fork import fork_study
from gan_bench.sweep.objective import Objective
from gan_bench.sweep.space import Choice, Interval, Space
from gan_bench.sweep.status import StudyStatus, study_status
from gan_bench.sweep.store import STATUSES, Trial, TrialStore, best_trial, read_trials
from gan_bench.sweep.study import Bandit, Cell, Study, read_study
from gan_bench.sweep.study_file import build_study, load_study

__all__ = [
    "ENGINES",
    "STATUSES",
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
    "StudyStatus",
    "Summary",
    "Trial",
    "TrialFunction",
    "TrialStore",
    "best_trial",
    "build_engine",
    "build_study",
    "cancel_study",
    "fork_study",
    "load_study",
    "read_study",
    "read_trials",
    "run_study",
    "study_status",
]
