"""The evaluator that a config asks for, and what figures are read against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_bench import config as configs
from gan_bench.errors import ConfigError, DataError
from gan_bench.evaluation import evaluate
from gan_bench.measure import baselines, build_evaluator, evaluate_images, evaluate_run, sampler
from gan_bench.registry import DATASETS
from gan_bench.run import prepare, train

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Real digits as PNG files in class folders."""
    digits = DATASETS.build("digits").split("train")
    for i in range(150):
        place = tmp_path / "images" / f"class_{int(digits.labels[i])}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits.images([i])[0, 0].numpy()).save(place / f"{i:04d}.png")
    return tmp_path / "images"


def test_a_folder_of_labelled_images_has_a_classifier_of_its_own(folder: Path):
    """Its figures carry the title that the user gave it."""
    config = configs.compose(
        [
            "dataset=image_files", f"dataset.root={folder}", "dataset.title=my_digits",
            "dataset.channels=1", "evaluator.metrics=[fid]", "evaluator.n_fake=15",
        ]
    )  # fmt: skip
    dataset = DATASETS.from_config(config.dataset)
    result = build_evaluator(config, dataset, CPU).run(dataset.split("train"))
    assert result["extractor"] == "classifier:my_digits"
    assert result["fid_my_digits_cnn"] >= 0


def test_no_extractor_is_built_for_metrics_that_need_none():
    """Neither are Inception's weights asked for."""
    config = configs.compose(
        ["evaluator=inception", "evaluator.weights_path=nowhere.pth", "evaluator.metrics=[ms_ssim]"]
    )
    dataset = DATASETS.from_config(config.dataset)
    result = build_evaluator(config, dataset, CPU, n_generated=50).run(dataset.split("test"))
    assert result["extractor"] == "none" and 0 < result["ms_ssim_3scale"] < 1


def test_baselines_bound_what_a_generator_can_do():
    config = configs.compose(["evaluator.metrics=[fid]", "evaluator.n_fake=300", "device=cpu"])
    state = torch.get_rng_state()
    found = baselines(config)
    assert torch.equal(torch.get_rng_state(), state)
    assert found["real"]["fid_digits_cnn"] < 5 < 50 < found["untrained"]["fid_digits_cnn"]
    assert found["real"]["protocol"] == found["untrained"]["protocol"]


# --- protocols by name


@pytest.mark.parametrize(
    ("name", "n_real", "n_fake", "split", "quantize"),
    [
        ("compare_gan", 10_000, 10_000, "test", False),
        ("sngan", 10_000, 5_000, "test", True),
        ("standard", 50_000, 50_000, "train", True),
        ("fast", None, 2_000, "test", True),
    ],
)
def test_a_protocol_is_a_name(name: str, n_real: int, n_fake: int, split: str, quantize: bool):
    wanted = configs.compose(["dataset=cifar10", f"evaluator={name}"]).evaluator
    found = (wanted.n_real, wanted.n_fake, wanted.split, wanted.quantize)
    assert found == (n_real, n_fake, split, quantize)
    assert wanted.extractor == ("classifier:cifar10" if name == "fast" else "inception")


def test_more_images_than_the_split_has_are_an_error_before_training(tmp_path: Path):
    run_dir = prepare(
        configs.compose(
            [
                "evaluator=compare_gan", "evaluator.extractor=classifier:digits",
                "evaluator.n_fake=359", f"run_dir={tmp_path / 'run'}",
            ]
        )
    )  # fmt: skip
    with pytest.raises(ConfigError, match="n_reference=10000, but there are only 359"):
        train(run_dir)
    assert not (run_dir / "checkpoints").exists()


def test_classes_of_generated_images_are_asked_for_before_training(tmp_path: Path):
    fields = ["evaluator.metrics=[intra_fid]", f"run_dir={tmp_path / 'run'}", "device=cpu"]
    with pytest.raises(ConfigError, match="no architecture here is conditional"):
        train(prepare(configs.compose(fields)))


SMALL = [
    "evaluator=compare_gan", "evaluator.extractor=classifier:digits", "evaluator.n_real=359",
    "evaluator.n_fake=320", "architecture.hidden=16", "latent.dim=4", "training.steps=5",
    "device=cpu",
]  # fmt: skip


def test_compare_gan_does_not_round_the_images(tmp_path: Path):
    """Neither in training, nor afterwards; rounded files are refused under its name."""
    run_dir = prepare(configs.compose([*SMALL, f"run_dir={tmp_path / 'run'}"]))
    result = train(run_dir)["metrics"]
    assert result["quantization"] == "none" and "quantization=none" in result["protocol"]
    assert result["is_splits"] == 1 and "kid(estimator=blocks)" in result["protocol"]
    assert {"d_accuracy_train", "d_accuracy_test", "d_accuracy_fake"} <= set(result)
    again = evaluate_run(run_dir, device="cpu")
    assert again["fid_digits_cnn"] == result["fid_digits_cnn"]
    assert again["d_accuracy_fake"] == result["d_accuracy_fake"]
    rounded = configs.load(run_dir / "config.yaml").evaluator
    rounded.quantize = True
    other = evaluate_run(run_dir, rounded, device="cpu")
    assert other["quantization"] == "uint8" and other["protocol"] != result["protocol"]
    assert other["fid_digits_cnn"] != result["fid_digits_cnn"]
    assert other["fid_digits_cnn"] == pytest.approx(result["fid_digits_cnn"], rel=0.02)
    images = tmp_path / "a.npz"
    np.savez(images, DATASETS.build("digits").split("train").images(range(320)).numpy())
    with pytest.raises(ConfigError, match="rounded to uint8 already.*evaluator.quantize=true"):
        evaluate_images(images, configs.compose(SMALL))


def test_the_floor_of_an_unrounded_protocol_is_under_the_same_protocol():
    for sets in (1, 3):
        fields = ["evaluator.metrics=[fid]", f"evaluator.sets={sets}"]
        found = baselines(configs.compose([*SMALL, *fields]))
        assert found["real"]["protocol"] == found["untrained"]["protocol"]


def test_a_run_is_a_sampler_in_one_call(tmp_path: Path):
    run_dir = prepare(configs.compose([*SMALL, f"run_dir={tmp_path / 'run'}"]))
    expected = train(run_dir)["metrics"]
    found = evaluate(
        sampler(run_dir, device="cpu"),
        DATASETS.build("digits").split("test"),
        metrics=["fid"],
        extractor="classifier:digits",
        n_generated=320,
        quantized=False,
    )
    assert found["fid_digits_cnn"] == expected["fid_digits_cnn"]


def test_sets_draw_other_latents(tmp_path: Path):
    fields = ["evaluator.quantize=true", "evaluator.metrics=[fid]", "evaluator.sets=3"]
    run_dir = prepare(configs.compose([*SMALL, *fields, f"run_dir={tmp_path / 'run'}"]))
    result = train(run_dir)["metrics"]
    values = result["uncertainty"]["fid_digits_cnn"]["values"]
    assert len(set(values)) == 3
    one = configs.load(run_dir / "config.yaml").evaluator
    one.sets = 1
    assert evaluate_run(run_dir, one, device="cpu")["fid_digits_cnn"] == values[0]


def test_what_the_data_cannot_support_is_told_beforehand():
    """MS-SSIM of five batches of 64 images wants 320; digits have no 16-pixel scale for SWD."""
    few = configs.compose([*SMALL, "evaluator.n_fake=100"])
    dataset = DATASETS.build("digits")
    with pytest.raises(DataError, match="320"):
        build_evaluator(few, dataset, CPU)
    small = configs.compose([*SMALL, "evaluator.metrics=[sliced_wasserstein]"])
    with pytest.raises(DataError, match="16 pixels"):
        build_evaluator(small, dataset, CPU)
