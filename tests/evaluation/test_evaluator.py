"""Figures with their protocol: the same for every kind of input, batch size and random state."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from digit_images import generated, split
from PIL import Image
from torch import Tensor

from gan_bench.errors import ConfigError, DataError
from gan_bench.evaluation import Extractor, build_extractor, evaluate
from gan_bench.evaluation.frechet import Gaussian, frechet_distance
from gan_bench.registry import METRICS

ALL = ["fid", "kid", "inception_score", "precision_recall", "ms_ssim"]
FIGURES = {
    "fid_digits_cnn",
    "kid_mean_digits_cnn",
    "kid_std_digits_cnn",
    "is_mean_digits_cnn",
    "is_std_digits_cnn",
    "precision_digits_cnn",
    "recall_digits_cnn",
    "ms_ssim_3scale",
}


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return build_extractor("classifier:digits")


def figures(result: dict[str, Any]) -> dict[str, float]:
    return {key: result[key] for key in FIGURES}


def test_a_result_carries_its_protocol(extractor: Extractor) -> None:
    result = evaluate(generated(), split("test"), metrics=ALL, extractor="classifier:digits")
    assert set(result) >= FIGURES
    assert all(np.isfinite(result[key]) for key in FIGURES)
    expected = {
        "n_real": 359,
        "n_fake": 200,
        "split": "test",
        "extractor": "classifier:digits",
        "extractor_digest": extractor.digest,
        "resize": "none",
        "quantization": "uint8",
        "arithmetic": "float32",
        "seed": 0,
        "is_splits": 10,
        "kid_subset_size": 100,
        "reference_digest": split("test").digest(),
        "extractor_test_accuracy": extractor.test_accuracy,
    }
    assert {key: result[key] for key in expected} == expected
    assert result["seconds_evaluate"] > 0
    assert result["protocol"] == (
        "gan_bench-evaluation/2;n_real=359;n_fake=200;split=test;"
        f"extractor=classifier:digits@{extractor.digest[:12]};"
        "resize=none;quantization=uint8;arithmetic=float32"
    )


def test_the_frechet_distance_is_that_of_the_features(extractor: Extractor) -> None:
    sides = [extractor(generated())[0], extractor(split("test").images(range(359)))[0]]
    gaussians = [Gaussian.from_matrix(s.double().mean(0), s.double().T.cov()) for s in sides]
    result = evaluate(generated(), split("test"), metrics=["fid"], extractor=extractor)
    assert result["fid_digits_cnn"] == pytest.approx(frechet_distance(*gaussians))


def test_figures_order_good_and_bad(extractor: Extractor) -> None:
    seeded = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (200, 1, 8, 8), generator=seeded, dtype=torch.uint8)
    one = split("train").images([0]).repeat(200, 1, 1, 1)
    real = split("train").images(range(200, 400))
    found = {
        name: evaluate(images, split("test"), metrics=ALL, extractor=extractor)
        for name, images in (("real", real), ("noisy", generated()), ("noise", noise), ("one", one))
    }
    for key in ("fid_digits_cnn", "kid_mean_digits_cnn"):
        assert found["real"][key] < found["noisy"][key] < found["noise"][key]
    assert found["real"]["is_mean_digits_cnn"] > 7
    assert found["one"]["is_mean_digits_cnn"] == pytest.approx(1.0)
    assert found["one"]["ms_ssim_3scale"] == pytest.approx(1.0)
    assert found["one"]["recall_digits_cnn"] < 0.05 < 0.5 < found["real"]["recall_digits_cnn"]
    assert (
        found["noise"]["precision_digits_cnn"] < 0.3 < 0.8 < found["real"]["precision_digits_cnn"]
    )


def test_every_kind_of_input_gives_the_same_figures(tmp_path: Path, extractor: Extractor) -> None:
    images = generated(100)
    folder = tmp_path / "folder"
    folder.mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image[0].numpy()).save(folder / f"{index:03d}.png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    np.savez(tmp_path / "a.npz", images.numpy())
    stream = iter(images.split(7))
    inputs: list[Any] = [
        images,
        images.numpy(),
        folder,
        str(tmp_path / "a.zip"),
        tmp_path / "a.npz",
        lambda count: next(stream),
    ]
    results = [
        evaluate(
            each, split("test"), metrics=ALL, extractor=extractor, n_generated=100, batch_size=7
        )
        for each in inputs
    ]
    for result in results[1:]:
        assert figures(result) == figures(results[0])
        assert result["protocol"] == results[0]["protocol"]
    reference = tmp_path / "reference.npz"
    np.savez(reference, split("test").images(range(359)).numpy())
    other = evaluate(images, reference, metrics=ALL, extractor=extractor)
    assert figures(other) == pytest.approx(figures(results[0]), rel=1e-6)
    assert other["protocol"] == results[0]["protocol"]


def test_batch_size_does_not_matter(extractor: Extractor) -> None:
    results = [
        figures(
            evaluate(
                generated(100),
                split("test"),
                metrics=ALL,
                extractor=extractor,
                n_reference=80,
                batch_size=size,
                cache=False,
            )
        )
        for size in (1000, 64, 1)
    ]
    for result in results[1:]:
        assert result == pytest.approx(results[0], rel=1e-4)


def test_global_random_states_neither_matter_nor_change(extractor: Extractor) -> None:
    options: dict[str, Any] = {"metrics": ALL, "extractor": extractor, "n_reference": 100}
    expected = figures(evaluate(generated(), split("test"), **options))
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    assert figures(evaluate(generated(), split("test"), **options)) == expected
    assert torch.equal(states[0], torch.random.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])
    assert states[2] == random.getstate()


def test_the_seed_chooses_subsets_and_is_recorded(extractor: Extractor) -> None:
    options: dict[str, Any] = {"metrics": ["fid"], "extractor": extractor, "n_reference": 100}
    first, second = (evaluate(generated(), split("test"), seed=s, **options) for s in (1, 2))
    assert first["fid_digits_cnn"] != second["fid_digits_cnn"]
    assert (first["seed"], first["n_real"]) == (1, 100)
    assert first["protocol"] == second["protocol"]
    fewer = evaluate(generated(), split("test"), n_generated=50, **options)
    assert fewer["n_fake"] == 50
    assert fewer["protocol"] != first["protocol"]


def test_a_figure_does_not_depend_on_the_other_metrics(extractor: Extractor) -> None:
    every = evaluate(generated(), split("test"), metrics=ALL, extractor=extractor)
    for name in ALL:
        alone = evaluate(generated(), split("test"), metrics=[name], extractor=extractor)
        shared = FIGURES & set(alone)
        assert shared
        assert {key: alone[key] for key in shared} == {key: every[key] for key in shared}


def test_images_kept_for_one_metric_change_nothing_for_another() -> None:
    """MS-SSIM of 30 images is of the same 30, whether or not patches of 60 are wanted."""
    images = split("train").images(range(90)).repeat(1, 1, 2, 2)
    few: dict[str, Any] = {"name": "ms_ssim", "max_images": 30}
    patches: dict[str, Any] = {"name": "sliced_wasserstein", "images": 60}
    alone = evaluate(images, None, metrics=[few])
    real = split("test").images(range(90)).repeat(1, 1, 2, 2)
    both = evaluate(images, real, metrics=[patches, few], cache=False)
    assert both["ms_ssim"] == alone["ms_ssim"]
    assert "60 images a side" in both["swd_protocol"]
    swd = evaluate(images, real, metrics=[patches], cache=False)["swd"]
    assert both["swd"] == swd


def test_other_options_than_the_defaults_are_another_protocol(extractor: Extractor) -> None:
    specs: list[Any] = [{"name": "kid", "subsets": 5}, {"name": "precision_recall", "k": 3}]
    result = evaluate(generated(), split("test"), metrics=specs, extractor=extractor)
    assert result["protocol"].endswith(";arithmetic=float32;kid(subsets=5)")


def test_figures_with_published_inception_have_the_bare_names(extractor: Extractor) -> None:
    class Inception:
        name, suffix, digest, resize, precision = "inception", "", "6726825d", "any", "float32"
        feature_dim, image_shape, test_accuracy = extractor.feature_dim, None, None

        def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
            return extractor(images)

    found = evaluate(generated(), split("test"), metrics=ALL, extractor=Inception(), cache=False)
    expected = evaluate(generated(), split("test"), metrics=ALL, extractor=extractor)
    for key in FIGURES:
        assert found[key.removesuffix("_digits_cnn")] == expected[key]
    assert not any(key.endswith("_cnn") for key in found)


def test_a_metric_cannot_hide_another_ones_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = METRICS.entry("ms_ssim").builder
    monkeypatch.setattr(metric, "__call__", lambda self, real, fake, rng: {"n_fake": 3})
    with pytest.raises(ConfigError, match="gives 'n_fake', which is taken"):
        evaluate(generated(9), None, metrics=["ms_ssim"])


def test_ms_ssim_alone_needs_neither_reference_nor_extractor() -> None:
    result = evaluate(generated(20), None, metrics=["ms_ssim"], extractor="no such thing")
    assert result["extractor"] == "none" and result["n_real"] == 0
    assert 0 < result["ms_ssim_3scale"] < 1


def test_images_kept_for_pairs_are_a_random_part() -> None:
    by_class = torch.zeros(40, 1, 16, 16, dtype=torch.uint8)
    by_class[20:] = split("train").images([0]).repeat(20, 1, 2, 2)
    spec: dict[str, Any] = {"name": "ms_ssim", "max_images": 12}
    found = evaluate(by_class, None, metrics=[spec], batch_size=5)
    assert found["ms_ssim"] < 0.9  # the first 12 alone would be all the same
    assert "of 12 images" in found["ms_ssim_protocol"]


def test_progress_is_told_of_each_pass(extractor: Extractor) -> None:
    calls: list[tuple[str, int, int]] = []
    evaluate(
        generated(10),
        generated(20),
        metrics=["fid"],
        extractor=extractor,
        batch_size=8,
        cache=False,
        progress=lambda *call: calls.append(call),
    )
    assert calls == [
        ("reference", 8, 20),
        ("reference", 16, 20),
        ("reference", 20, 20),
        ("generated", 8, 10),
        ("generated", 10, 10),
    ]


# --- errors


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metrics": ["fidd"]}, "did you mean 'fid'"),
        ({"metrics": [{"name": "kid", "subset": 3}]}, "did you mean 'subsets'"),
        ({"metrics": [{"name": "kid", "subsets": "many"}]}, "kid: subsets"),
        ({"metrics": []}, "metrics is empty"),
        ({"metrics": "fid"}, "list of names"),
        ({"metrics": ["is", "inception_score"]}, "twice"),
        ({"n_reference": 400}, "only 359 reference images"),
        ({"n_generated": 51}, "only 50 generated images"),
        ({"n_generated": 1}, "2 generated images or more"),
        ({"n_reference": 0}, "2 images or more"),
        ({"batch_size": 0}, "batch_size"),
        ({"seed": -1}, "seed"),
        ({"reference": None}, "fid: a reference of real images is needed"),
        ({"generated": generated(1)}, "2 generated images or more"),
        ({"reference": generated(1)}, "2 images or more"),
        ({"generated": 3}, "can't be a int"),
    ],
)
def test_wrong_settings_are_one_line(
    extractor: Extractor, options: dict[str, Any], words: str
) -> None:
    given: dict[str, Any] = {
        "generated": generated(50),
        "reference": split("test"),
        "metrics": ["fid"],
        "extractor": extractor,
        **options,
    }
    with pytest.raises(ConfigError, match=words) as caught:
        evaluate(given.pop("generated"), given.pop("reference"), **given)
    assert "\n" not in str(caught.value)


def test_a_sampler_without_a_number_of_images_is_refused() -> None:
    with pytest.raises(ConfigError, match="n_generated"):
        evaluate(lambda count: generated(count), None, metrics=["ms_ssim"])


def test_images_of_different_shapes_are_refused(extractor: Extractor) -> None:
    colour = generated(50).expand(-1, 3, -1, -1)
    with pytest.raises(DataError, match="give both one"):
        evaluate(colour, split("test"), metrics=["fid"], extractor=extractor)
    with pytest.raises(DataError, match="takes images of"):
        evaluate(colour, colour, metrics=["fid"], extractor=extractor)


def test_features_that_are_not_finite_are_refused(extractor: Extractor) -> None:
    class Broken:
        name, suffix, digest, resize, precision = "broken", "_broken", "0", "none", "float32"
        feature_dim, image_shape, test_accuracy = 2, None, None

        def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
            return torch.full((len(images), 2), torch.nan), torch.zeros(len(images), 2)

    with pytest.raises(DataError, match="broken gave features that are not finite"):
        evaluate(generated(9), generated(9), metrics=["fid"], extractor=Broken(), cache=False)
