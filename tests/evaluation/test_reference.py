"""The reference: computed once, by one process, kept on disk, recognized without being read."""

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from digit_images import generated, split
from PIL import Image
from torch import Tensor

from gan_bench.data.splits import TensorSplit
from gan_bench.errors import ConfigError, DataError
from gan_bench.evaluation import Evaluator, Extractor, build_extractor, evaluate
from gan_bench.evaluation.identity import identify
from gan_bench.evaluation.sources import open_source, split_source
from gan_bench.registry import DATASETS

ALL = ["fid", "kid", "inception_score", "precision_recall", "ms_ssim"]


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return build_extractor("classifier:digits")


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAN_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def figures(result: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in result.items() if "digits_cnn" in key or "scale" in key}


def test_one_evaluator_serves_many_runs(extractor: Extractor, fresh_cache: Path) -> None:
    calls: list[str] = []
    evaluator = Evaluator(
        split("test"),
        extractor=extractor,
        metrics=ALL,
        n_generated=50,
        progress=lambda what, done, total: calls.append(what),
    )
    evaluator.prepare()
    assert set(calls) == {"reference"}
    calls.clear()
    first, second = evaluator.run(generated(50)), evaluator.run(lambda count: generated(count))
    assert figures(first) == figures(second)
    assert set(calls) == {"generated"}


def test_reference_statistics_are_kept_on_disk(extractor: Extractor, fresh_cache: Path) -> None:
    calls: list[str] = []

    def run(**options: Any) -> dict[str, Any]:
        calls.clear()
        defaults: dict[str, Any] = {"metrics": ALL, "extractor": extractor}
        return evaluate(
            generated(50),
            split("test"),
            progress=lambda what, done, total: calls.append(what),
            **{**defaults, **options},
        )

    first = run()
    assert "reference" in calls
    assert figures(run()) == figures(first)
    assert "reference" not in calls
    assert kept(fresh_cache) == {"moments": 1, "features": 1}
    run(n_reference=100)
    assert "reference" in calls
    run(n_reference=100, seed=1)
    assert "reference" in calls
    run(metrics=["fid"])
    assert "reference" not in calls
    run(cache=False)
    assert "reference" in calls
    assert kept(fresh_cache) == {"moments": 3, "features": 3}


def test_only_what_is_missing_is_computed(extractor: Extractor, fresh_cache: Path) -> None:
    options: dict[str, Any] = {"extractor": extractor}
    fid = evaluate(generated(50), split("test"), metrics=["fid"], **options)
    assert kept(fresh_cache) == {"moments": 1}
    both = evaluate(generated(50), split("test"), metrics=["fid", "kid"], **options)
    assert kept(fresh_cache) == {"moments": 1, "features": 1}
    assert both["fid_digits_cnn"] == fid["fid_digits_cnn"]


def kept(cache: Path) -> dict[str, int]:
    """Count the cached files of a reference by what they hold."""
    found: dict[str, int] = {}
    for path in (cache / "references").glob("*.npz"):
        part = path.name.split(".")[1]
        found[part] = found.get(part, 0) + 1
    return found


@pytest.mark.parametrize("damage", ["torn", "empty", "flipped", "other"])
def test_a_damaged_reference_is_told_and_computed_anew(
    extractor: Extractor, fresh_cache: Path, damage: str
) -> None:
    def run() -> dict[str, Any]:
        return evaluate(generated(50), split("test"), metrics=["fid"], extractor=extractor)

    expected = run()["fid_digits_cnn"]
    (path,) = (fresh_cache / "references").glob("*.npz")
    content = path.read_bytes()
    if damage == "torn":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "flipped":
        path.write_bytes(content[:5000] + bytes([content[5000] ^ 255]) + content[5001:])
    else:
        np.savez(path, mean=np.zeros(3), factor=np.zeros((3, 3)), trace=0.0)
    with pytest.warns(UserWarning, match="is damaged .* computed anew"):
        assert run()["fid_digits_cnn"] == expected
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run()["fid_digits_cnn"] == expected


def test_a_cache_that_cannot_be_written_is_a_warning(
    extractor: Extractor, fresh_cache: Path
) -> None:
    fresh_cache.write_text("in the way")
    with pytest.warns(UserWarning, match="are not kept"):
        evaluate(generated(50), split("test"), metrics=["fid"], extractor=extractor)


# --- what the images are is remembered


class Spy:
    """A split that counts how often its images are asked for."""

    def __init__(self, inner: TensorSplit) -> None:
        self.inner, self.reads = inner, 0
        self.labels = inner.labels

    def __len__(self) -> int:
        return len(self.inner)

    def images(self, indices: Any) -> Tensor:
        self.reads += 1
        return self.inner.images(indices)

    def digest(self) -> str:
        return self.inner.digest()

    def fingerprint(self) -> str:
        return "as it was"


def test_a_second_evaluation_reads_no_real_image(extractor: Extractor, fresh_cache: Path) -> None:
    results = []
    for _ in range(2):
        spy = Spy(split("test"))
        results.append(
            evaluate(generated(50), spy, metrics=["fid", "kid", "is"], extractor=extractor)
        )
        reads = spy.reads
    assert reads == 0
    assert figures(results[0]) == figures(results[1])
    assert results[0]["protocol"] == results[1]["protocol"]
    assert results[0]["reference_digest"] == results[1]["reference_digest"]


def test_files_that_were_deleted_are_not_missed(
    tmp_path: Path, extractor: Extractor, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder's images are read once; afterwards their names and times are enough."""
    folder = tmp_path / "real"
    folder.mkdir()
    for index, image in enumerate(split("test").images(range(60))):
        Image.fromarray(image[0].numpy()).save(folder / f"{index:03d}.png")
    with zipfile.ZipFile(tmp_path / "real.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    for reference in (folder, tmp_path / "real.zip"):
        run = lambda reference=reference: evaluate(  # noqa: E731
            generated(50), reference, metrics=["fid"], extractor=extractor
        )
        first = run()
        with monkeypatch.context() as patch:
            patch.setattr("gan_bench.evaluation.sources._decode", None)
            assert figures(run()) == figures(first)
    changed = Image.fromarray(255 - split("test").images([0])[0, 0].numpy())
    changed.save(folder / "000.png")
    assert evaluate(generated(50), folder, metrics=["fid"], extractor=extractor) != first


def test_what_is_remembered_holds_while_the_files_do(tmp_path: Path, fresh_cache: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, split("test").images(range(5)).numpy())
    first = identify(open_source(path, "reference"))
    assert (first.count, first.shape) == (5, (1, 8, 8))
    (memory,) = (fresh_cache / "identities").iterdir()
    assert json.loads(memory.read_text())["digest"] == first.digest
    assert identify(open_source(path, "reference")) == first
    memory.write_text("{torn")
    assert identify(open_source(path, "reference")) == first
    np.savez(path, split("test").images(range(6)).numpy())
    os.utime(path, ns=(1, 1))
    assert identify(open_source(path, "reference")).count == 6


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
@pytest.mark.real_data
def test_real_sets_are_recognized_without_reading_them(
    real_data: Path, name: str, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dataset() -> Any:
        return DATASETS.build(name, root=str(real_data))

    first = identify(split_source(dataset(), "test"))
    assert first.count == 10_000
    assert first.digest == dataset().split("test").digest()
    monkeypatch.setattr("gan_bench.data.splits.SplitDataset.split", None)
    assert identify(split_source(dataset(), "test")) == first


# --- many processes at once


def _evaluate_in_a_process(cache: str, log: str) -> float:
    os.environ["GAN_BENCH_CACHE"] = cache
    torch.set_num_threads(1)

    def note(what: str, done: int, total: int) -> None:
        if what == "reference" and done == total:
            with open(log, "a") as stream:
                stream.write("computed\n")

    found = evaluate(
        generated(50),
        split("test"),
        metrics=["fid"],
        extractor="classifier:digits",
        progress=note,
    )
    return float(found["fid_digits_cnn"])


@pytest.mark.slow
def test_of_processes_that_start_together_one_computes(
    tmp_path: Path, extractor: Extractor
) -> None:
    """The classifier is in the session's cache; the reference statistics are not yet."""
    cache = tmp_path / "cache"
    session = Path(os.environ["GAN_BENCH_CACHE"])
    cache.mkdir()
    (cache / "extractors").symlink_to(session / "extractors")
    log = tmp_path / "log"
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(4, mp_context=context) as pool:
        jobs = [pool.submit(_evaluate_in_a_process, str(cache), str(log)) for _ in range(4)]
        found = {job.result() for job in jobs}
    assert len(found) == 1
    assert log.read_text() == "computed\n"


# --- published statistics


def published(path: Path, extractor: Extractor, **changes: Any) -> Path:
    features = extractor(split("test").images(range(359)))[0].double().numpy()
    arrays = {"mu": features.mean(axis=0), "sigma": np.cov(features, rowvar=False), **changes}
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def test_published_statistics_are_a_reference(tmp_path: Path, extractor: Extractor) -> None:
    path = published(tmp_path / "digits_stats.npz", extractor)
    found = evaluate(generated(), path, metrics=["fid", "is"], extractor=extractor)
    images = evaluate(generated(), split("test"), metrics=["fid"], extractor=extractor)
    assert found["fid_digits_cnn"] == pytest.approx(images["fid_digits_cnn"], rel=1e-6)
    assert (found["n_real"], found["split"]) == (None, "digits_stats.npz")
    assert found["protocol"] != images["protocol"]
    with_n = published(tmp_path / "n.npz", extractor, n=np.int64(359))
    again = evaluate(generated(), with_n, metrics=["fid"], extractor=extractor)
    assert again["n_real"] == 359


@pytest.mark.parametrize(
    ("changes", "metrics", "kind", "words"),
    [
        ({}, ["kid"], ConfigError, "holds only a mean and a covariance"),
        ({"mu": np.zeros(3), "sigma": np.eye(3)}, ["fid"], DataError, "is of 3 features"),
        ({"mu": np.zeros(4)}, ["fid"], DataError, "don't belong together"),
        ({"mu": np.full(64, np.nan)}, ["fid"], DataError, "not finite"),
        ({"mu": np.array(["x"] * 64)}, ["fid"], DataError, "floating-point"),
        ({"mu": np.array([{}] * 64)}, ["fid"], DataError, "can't be read"),
    ],
)
def test_unsuitable_statistics_are_one_line(
    tmp_path: Path,
    extractor: Extractor,
    changes: dict[str, Any],
    metrics: list[str],
    kind: type[Exception],
    words: str,
) -> None:
    path = published(tmp_path / "stats.npz", extractor, **changes)
    with pytest.raises(kind, match=words) as caught:
        evaluate(generated(20), path, metrics=metrics, extractor=extractor)
    assert "\n" not in str(caught.value)
