"""The command line: `gan-bench VERB [Hydra overrides]`.

Exit codes: 0 done; 1 an unexpected fault (traceback); 2 bad input (one clear line); 130
interrupted, with the state saved.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from gan_bench import __version__
from gan_bench import config as configs
from gan_bench.cli import parts, runs, studies
from gan_bench.errors import GanBenchError, unknown
from gan_bench.signals import interrupt

USAGE = """\
gan-bench: compare GANs with statistics.

  gan-bench list [--json | --markdown]                what there is to choose from
  gan-bench train dataset=cifar10 loss=hinge ...      train and evaluate one GAN
  gan-bench train --multirun loss=hinge,wasserstein   several (hydra/sweeper=gan_bench: a study)
  gan-bench evaluate run_dir=DIR [checkpoint=best]    evaluate a run's newest (or best) checkpoint
  gan-bench evaluate images=PATH dataset=NAME         evaluate a folder, zip or .npz of images
  gan-bench evaluate images=PATH reference=PATH       ... against others, or published statistics
  gan-bench compare run_dir=DIR against=DIR           the difference of two runs, with its interval
  gan-bench analyze run_dir=DIR analysis=NAME         what a run's generator is like
  gan-bench sweep study=NAME [study_dir=DIR]          run a study, or go on with it
                  [engine=local|slurm|ray]            ... on several GPUs, or a cluster
                  [--dry-run]                         ... or only say what it would cost
  gan-bench status study_dir=DIR [--watch]            how a study stands
  gan-bench cancel study_dir=DIR                      stop what runs of a study, to go on later
  gan-bench report study_dir=DIR                      write the study's report
  gan-bench demo                                      a small study on digits, and its report

After the verb come Hydra overrides; `gan-bench train --help` shows all fields.
An interrupted command goes on when it is started again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    if given[0] == "--version":
        print(__version__)
        return 0
    signal.signal(signal.SIGTERM, interrupt)
    warnings.showwarning = _show_warning
    _show_log()
    verb, rest = given[0], given[1:]
    try:
        if verb not in VERBS:
            raise unknown("command", verb, VERBS)
        VERBS[verb](rest)
    except KeyboardInterrupt:
        print("gan-bench: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has seen enough (gan-bench list | head)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (HydraException, OmegaConfBaseException) as error:
        return _bad_input(configs.explain(error, rest))
    except GanBenchError as error:
        return _bad_input(str(error))
    return 0


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"gan-bench: warning: {message}", file=sys.stderr)


def _show_log() -> None:
    """Print what the package logs (a classifier's training takes minutes) on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("gan_bench")
    log.handlers = [handler]
    log.setLevel(logging.INFO)


def _bad_input(message: str) -> int:
    print(f"gan-bench: {' '.join(message.split())}", file=sys.stderr)
    return 2


VERBS: dict[str, Callable[[Sequence[str]], None]] = {
    "list": parts.list_parts,
    "train": runs.train,
    "evaluate": runs.evaluate,
    "compare": runs.compare,
    "analyze": runs.analyze,
    "sweep": studies.sweep,
    "status": studies.status,
    "cancel": studies.cancel,
    "report": studies.report,
    "demo": studies.demo,
}
