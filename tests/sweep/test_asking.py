"""Suggestions computed beside the driver: the same as at once, and from a child that may die."""

from __future__ import annotations

import time

import pytest

from gan_bench.errors import ConfigError, EngineError
from gan_bench.sweep import Space
from gan_bench.sweep.asking import Answer, DirectAsker, ProcessAsker

SPACE = Space.parse({"a": "interval(0, 1)"})
OPTIONS = {"kappa": 1.96, "random_starts": 2}
HISTORY = [({"a": 0.25 * n}, (0.25 * n - 0.6) ** 2 + 1) for n in range(5)]


def wait_for(asker: ProcessAsker, *answers: Answer, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not all(answer.done() for answer in answers):
        assert time.monotonic() < deadline
        asker.poll()
        time.sleep(0.01)


@pytest.mark.slow
def test_a_child_answers_as_the_driver_would_and_in_order() -> None:
    asker, direct = ProcessAsker(), DirectAsker()
    names = ("random", "gaussian_process", "random")
    try:
        answers = [asker.ask(n, SPACE, "k", OPTIONS, HISTORY, [{"a": 0.9}]) for n in names]
        assert not answers[1].done()
        wait_for(asker, *answers)
    finally:
        asker.close()
    expected = [direct.ask(n, SPACE, "k", OPTIONS, HISTORY, [{"a": 0.9}]) for n in names]
    assert [answer.result() for answer in answers] == [each.result() for each in expected]
    assert asker.seconds > 0


def test_a_long_history_does_not_block_the_driver() -> None:
    asker = ProcessAsker()
    try:
        many = [({"a": n / 20_000}, 1.0) for n in range(20_000)]  # far more than a pipe holds
        answers = [asker.ask("random", SPACE, str(n), {}, many, []) for n in range(3)]
        wait_for(asker, *answers)
    finally:
        asker.close()


def test_a_killed_child_is_replaced_but_not_for_ever() -> None:
    asker = ProcessAsker()
    try:
        first = asker.ask("gaussian_process", SPACE, "k", OPTIONS, HISTORY, [])
        assert asker._child is not None
        asker._child[0].kill()
        asker._child[0].join()
        wait_for(asker, first)
        assert first.result() in SPACE
        with pytest.raises(EngineError, match="was killed 4 times; is there enough memory"):
            for _ in range(10):
                asker.ask("random", SPACE, "k", {}, HISTORY, [])
                assert asker._child is not None
                asker._child[0].kill()
                asker._child[0].join()
                asker.poll()
    finally:
        asker.close()


def test_a_fault_of_the_suggester_is_raised_where_it_was_asked() -> None:
    asker = ProcessAsker()
    try:
        answer = asker.ask("gausian_process", SPACE, "k", {}, [], [])
        wait_for(asker, answer)
        with pytest.raises(ConfigError, match="unknown suggester"):
            answer.result()
    finally:
        asker.close()
