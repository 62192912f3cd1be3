"""The evaluator that a config asks for, and what figures are read against."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from gan_bench import config as configs
from gan_bench.measure import baselines, build_evaluator
from gan_bench.registry import DATASETS

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
    result = build_evaluator(config, dataset, CPU, 50).run(dataset.split("test"))
    assert result["extractor"] == "none" and 0 < result["ms_ssim_3scale"] < 1


def test_baselines_bound_what_a_generator_can_do():
    config = configs.compose(["evaluator.metrics=[fid]", "evaluator.n_fake=300", "device=cpu"])
    state = torch.get_rng_state()
    found = baselines(config)
    assert torch.equal(torch.get_rng_state(), state)
    assert found["real"]["fid_digits_cnn"] < 5 < 50 < found["untrained"]["fid_digits_cnn"]
    assert found["real"]["protocol"] == found["untrained"]["protocol"]
