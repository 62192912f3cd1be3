"""Fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Caches (classifiers, reference statistics) go to a folder of the test session."""
    previous = os.environ.get("GAN_BENCH_CACHE")
    os.environ["GAN_BENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if previous is None:
        del os.environ["GAN_BENCH_CACHE"]
    else:
        os.environ["GAN_BENCH_CACHE"] = previous


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small tensors: threads cost more than they give, and the workers share the cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with mnist/ and cifar10/; its tests are skipped, visibly, without it."""
    folder = os.environ.get("GAN_BENCH_TEST_DATA")
    if not folder:
        pytest.skip("GAN_BENCH_TEST_DATA names no folder with mnist/ and cifar10/")
    return Path(folder)
