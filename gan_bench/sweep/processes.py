"""Child processes of a driver: forked from a server that has imported what they need.

A fork server makes a child in milliseconds, where a new interpreter takes seconds to import
torch; and its children don't share the driver's threads, files or fate.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import types
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def context() -> ForkServerContext:
    """Return the start method of all children; the server is started with the first call."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["gan_bench.run", "gan_bench.sweep.suggest"])
    # a pool of threads in the server would be broken in its forks
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return found


@contextlib.contextmanager
def hidden_main() -> Iterator[None]:
    """Hide the program from children started within: they would run it again to import it."""
    program = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program


def terminate(pid: int) -> None:
    """Send a process SIGTERM; one that is gone is left alone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def use_threads(count: int) -> None:
    """Let this process compute with so many CPU threads."""
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(count)))
    import torch

    torch.set_num_threads(count)
