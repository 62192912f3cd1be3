"""The classifier of a data set: accurate, the same every time, kept on disk, and quiet."""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

import gan_bench.data  # noqa: F401  (fills DATASETS)
from gan_bench.errors import ConfigError, DataError
from gan_bench.evaluation import build_extractor
from gan_bench.evaluation import classifier as module
from gan_bench.evaluation.classifier import Recipe, SmallConvNet, build_classifier
from gan_bench.files import cache_dir
from gan_bench.registry import DATASETS

QUICK = Recipe(width=8, feature_dim=8, max_epochs=1, min_epochs=1)


@dataclass
class Split:
    """Images in memory, where the brightest quarter tells the class."""

    pixels: Tensor
    labels: Tensor | None
    in_memory: bool = True

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, indices: Tensor) -> Tensor:
        return self.pixels[torch.as_tensor(indices)]

    def digest(self) -> str:
        return f"{self.pixels.double().sum()}{tuple(self.pixels.shape)}"


@dataclass
class Corners:
    """A data set of four classes."""

    image_shape: tuple[int, int, int] = (1, 8, 8)
    num_classes: int | None = 4
    name: str = "corners"
    count: int = 129
    made: dict[str, Split] = field(default_factory=dict)

    def split(self, name: str) -> Split:
        generator = torch.Generator().manual_seed(len(name))
        channels, height, width = self.image_shape
        labels = torch.randint(0, 4, (self.count,), generator=generator)
        pixels = torch.randint(
            0, 100, (self.count, *self.image_shape), generator=generator, dtype=torch.uint8
        )
        for image, label in zip(pixels, labels.tolist(), strict=True):
            rows = slice(0, height // 2) if label < 2 else slice(height // 2, height)
            columns = slice(0, width // 2) if label % 2 else slice(width // 2, width)
            image[:, rows, columns] += 100
        return Split(pixels, None if self.num_classes is None else labels)


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAN_BENCH_CACHE", str(tmp_path))
    return tmp_path


def test_digits_are_learnt_once(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = build_extractor("classifier:digits")
    assert extractor.test_accuracy is not None and extractor.test_accuracy >= 0.98
    assert (extractor.name, extractor.suffix) == ("classifier:digits", "_digits_cnn")
    assert (extractor.resize, extractor.precision) == ("none", "float32")
    test = DATASETS.build("digits").split("test")
    features, logits = extractor(test.images(range(len(test))))
    assert features.shape == (359, extractor.feature_dim) and features.dtype == torch.float32
    assert logits.shape == (359, 10) and logits.dtype == torch.float32
    right = (logits.argmax(1) == test.labels).double().mean()
    assert float(right) == pytest.approx(extractor.test_accuracy)

    monkeypatch.setattr(module, "fit", None)  # the second time, nothing is trained
    again = build_extractor("classifier:digits")
    assert (again.digest, again.test_accuracy) == (extractor.digest, extractor.test_accuracy)
    assert torch.equal(again(test.images([0]))[0], extractor(test.images([0]))[0])


def test_training_is_deterministic_and_leaves_the_caller_alone(fresh_cache: Path) -> None:
    torch.manual_seed(5)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    digests = []
    for attempt in range(2):
        for file in fresh_cache.rglob("classifier.pt"):
            file.unlink()
        with torch.set_grad_enabled(attempt == 0):
            digests.append(build_classifier(Corners(), "corners", recipe=QUICK).digest)
        assert torch.equal(state, torch.random.get_rng_state())
        assert torch.get_num_threads() == threads
        torch.rand(7)
        state = torch.random.get_rng_state()
    assert digests[0] == digests[1]


@pytest.mark.parametrize("shape", [(3, 8, 12), (1, 28, 28), (3, 64, 64)])
def test_the_network_fits_the_images(fresh_cache: Path, shape: tuple[int, int, int]) -> None:
    recipe = Recipe(width=8, feature_dim=8, max_epochs=25, batch_size=32)
    extractor = build_classifier(Corners(image_shape=shape), "corners", recipe=recipe)
    assert extractor.test_accuracy is not None and extractor.test_accuracy > 0.9
    assert extractor(torch.zeros(2, *shape, dtype=torch.uint8))[0].shape == (2, 8)
    with pytest.raises(DataError, match="takes images of"):
        extractor(torch.zeros(2, 1, 9, 9, dtype=torch.uint8))


@pytest.mark.parametrize("damage", ["torn", "bytes", "digest"])
def test_a_damaged_cache_is_told_and_trained_anew(fresh_cache: Path, damage: str) -> None:
    first = build_classifier(Corners(), "corners", recipe=QUICK)
    (path,) = fresh_cache.rglob("classifier.pt")
    content = path.read_bytes()
    if damage == "torn":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "bytes":
        path.write_bytes(b"x" * 100)
    else:
        saved = torch.load(path, weights_only=True)
        saved["state"]["head.weight"][0, 0] += 1.0
        torch.save(saved, path)
    with pytest.warns(UserWarning, match="is damaged .* trained anew"):
        second = build_classifier(Corners(), "corners", recipe=QUICK)
    assert second.digest == first.digest
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert build_classifier(Corners(), "corners", recipe=QUICK).digest == first.digest


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(fresh_cache: Path) -> None:
    (fresh_cache / "extractors").write_text("in the way")
    with pytest.warns(UserWarning, match="is not kept"):
        assert build_classifier(Corners(), "corners", recipe=QUICK).feature_dim == 8


def test_other_data_or_recipes_are_other_entries(fresh_cache: Path) -> None:
    build_classifier(Corners(), "corners", recipe=QUICK)
    build_classifier(Corners(count=100), "corners", recipe=QUICK)
    build_classifier(Corners(), "corners", recipe=Recipe(width=8, feature_dim=9, max_epochs=1))
    assert len(list((cache_dir() / "extractors").iterdir())) == 3


def test_images_without_labels_or_too_small_are_refused(fresh_cache: Path) -> None:
    with pytest.raises(ConfigError, match="needs labels"):
        build_classifier(Corners(num_classes=None), "corners")
    with pytest.raises(ConfigError, match="8 pixels"):
        build_classifier(Corners(image_shape=(1, 7, 8)), "corners")


def test_a_given_data_set_needs_no_registration(fresh_cache: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Recipe", lambda: QUICK)
        extractor = build_extractor("classifier:mine", dataset=Corners())
    assert extractor.suffix == "_mine_cnn"


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("inceptoin", "'inception'"),
        ("classifier:digit", "'digits'"),
        ("clasifier:digits", "'classifier:digits'"),
        ("classifier", "known"),
        ("inception:digits", "known"),
    ],
)
def test_unknown_specs_name_the_nearest(spec: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_extractor(spec)
    assert hint in str(caught.value) and "\n" not in str(caught.value)


def test_a_classifier_takes_no_weights_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="trains its own weights"):
        build_extractor("classifier:digits", weights_path=tmp_path)


def test_shifts_move_each_image_by_its_own_offset() -> None:
    images = torch.arange(64.0).view(1, 1, 8, 8).repeat(200, 1, 1, 1)
    shifted = module._shift(images, torch.Generator().manual_seed(0))
    assert shifted.shape == images.shape
    centres = shifted[:, 0, 4, 4].unique()
    assert centres.tolist() == [27, 28, 29, 35, 36, 37, 43, 44, 45]


def _old_setting() -> None:
    torch.set_float32_matmul_precision("medium")


def _new_setting() -> None:
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    torch.backends.mkldnn.conv.fp32_precision = "bf16"


@pytest.mark.parametrize("choose", [_old_setting, _new_setting])
def test_features_do_not_depend_on_the_callers_precision(choose: Callable[[], None]) -> None:
    network = SmallConvNet((1, 8, 8), 4, QUICK).eval()
    extractor = module.ClassifierExtractor(network, "any", (1, 8, 8), test_accuracy=0.5)
    images = Corners().split("test").images(torch.arange(10))
    expected, _ = extractor(images)
    operations = [torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv]
    before = [operation.fp32_precision for operation in operations]
    choose()
    chosen = [operation.fp32_precision for operation in operations]
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found, _ = extractor(images)
        assert [operation.fp32_precision for operation in operations] == chosen != before
    finally:
        torch.set_float32_matmul_precision("highest")
        for operation, precision in zip(operations, before, strict=True):
            operation.fp32_precision = precision
    assert torch.equal(found, expected)


def _build_in_a_process(cache: str) -> tuple[str, int]:
    os.environ["GAN_BENCH_CACHE"] = cache
    torch.set_num_threads(1)
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("gan_bench")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    found = build_classifier(DATASETS.build("digits"), "digits", recipe=QUICK)
    return found.digest, sum("training the classifier" in line for line in lines)


@pytest.mark.slow
def test_of_processes_that_start_together_one_trains(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(4, mp_context=context) as pool:
        jobs = [pool.submit(_build_in_a_process, str(tmp_path)) for _ in range(4)]
        digests, trainings = zip(*(job.result() for job in jobs), strict=True)
    assert len(set(digests)) == 1
    assert sum(trainings) == 1
