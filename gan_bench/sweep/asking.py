"""Where suggestions are computed: at once, or in a process beside the driver.

Fitting a Gaussian process takes from a tenth of a second to seconds. A driver that did it itself
would leave free slots empty, so it asks ahead of need, of a child process.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import multiprocessing
import signal
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from gan_bench.errors import EngineError
from gan_bench.sweep import processes
from gan_bench.sweep.space import Settings, Space
from gan_bench.sweep.suggest import suggest

History = Sequence[tuple[Settings, float | None]]
_MAX_DEATHS = 3
Answer = concurrent.futures.Future[Settings | None]


class Asker(Protocol):
    """Computes the next setting of a cell; see `gan_bench.sweep.suggest.suggest`."""

    seconds: float
    """How long an answer takes, by the last ones."""

    def ask(
        self,
        name: str,
        space: Space,
        key: str,
        options: dict[str, Any],
        history: History,
        pending: Sequence[Settings],
    ) -> Answer:
        """Return the answer, or the promise of it."""
        ...

    def poll(self) -> None:
        """Complete the answers that have come.

        Raises:
            EngineError: They can't be computed here.
        """
        ...

    def close(self) -> None:
        """Forget what is being computed."""
        ...


class DirectAsker:
    """Answers at once."""

    seconds = 0.0

    def ask(
        self,
        name: str,
        space: Space,
        key: str,
        options: dict[str, Any],
        history: History,
        pending: Sequence[Settings],
    ) -> Answer:
        """See `Asker.ask`."""
        answer: Answer = concurrent.futures.Future()
        answer.set_result(suggest(name, space, key, options, history, pending))
        return answer

    def poll(self) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """There is nothing to forget."""


class ProcessAsker:
    """Answers in a child process, one question after the other; it ends when the driver does."""

    def __init__(self) -> None:
        """Prepare; the process starts with the first question, in which all is imported by then."""
        processes.context()
        self.seconds = 0.0
        self._questions: collections.deque[tuple[tuple[Any, ...], Answer]] = collections.deque()
        self._child: tuple[BaseProcess, Connection] | None = None
        self._asked: float | None = None
        """When the first question was handed over; None: it is yet to be."""
        self._deaths = 0

    def ask(
        self,
        name: str,
        space: Space,
        key: str,
        options: dict[str, Any],
        history: History,
        pending: Sequence[Settings],
    ) -> Answer:
        """See `Asker.ask`."""
        answer: Answer = concurrent.futures.Future()
        self._questions.append(((name, space, key, options, history, pending), answer))
        self.poll()
        return answer

    def poll(self) -> None:
        """See `Asker.poll`."""
        while self._questions:
            try:
                if not self._exchange():
                    return
            except (EOFError, OSError):  # the child was killed: ask another
                self._drop_child()
                self._deaths += 1
                if self._deaths > _MAX_DEATHS:
                    raise EngineError(
                        f"the process that computes suggestions was killed {self._deaths} times; "
                        "is there enough memory?"
                    ) from None

    def _exchange(self) -> bool:
        """Hand the first question over, or take its answer; False if there is none yet."""
        if self._child is None:
            ours, theirs = multiprocessing.Pipe()
            child = processes.context().Process(target=_answer, args=(theirs,), daemon=True)
            with processes.hidden_main():
                child.start()
            theirs.close()
            self._child = child, ours
        connection = self._child[1]
        question, answer = self._questions[0]
        if self._asked is None:
            connection.send(question)
            self._asked = time.monotonic()
        if not connection.poll():
            return False
        settings, error = connection.recv()
        self.seconds = 0.5 * self.seconds + 0.5 * (time.monotonic() - self._asked)
        self._asked = None
        self._questions.popleft()
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(settings)
        return True

    def _drop_child(self) -> None:
        if self._child is not None:
            child, connection = self._child
            connection.close()
            child.kill()
            child.join()
            self._child = self._asked = None

    def close(self) -> None:
        """Stop the process; what it computes can be computed again."""
        self._questions.clear()
        self._drop_child()


def _answer(connection: Connection) -> None:
    """Answer questions until the driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver
    with contextlib.suppress(EOFError, OSError):
        while True:
            question = connection.recv()
            try:
                reply: tuple[Settings | None, Exception | None] = suggest(*question), None
            except Exception as error:
                reply = None, error
            connection.send(reply)
