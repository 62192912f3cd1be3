"""Training on the real MNIST and CIFAR-10: both nets move, checkpoint, resume and are measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan_bench import config as configs
from gan_bench import files
from gan_bench.run import prepare, train
from gan_bench.training import checkpoint


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize(
    ("dataset", "architecture", "metrics"),
    # the classifier of CIFAR-10 takes minutes to train: diversity needs none
    [("mnist", "dcgan", "[fid,kid,ms_ssim]"), ("cifar10", "sndcgan", "[ms_ssim]")],
)
def test_a_few_steps_on_real_images(dataset, architecture, metrics, real_data, tmp_path: Path):
    overrides = [
        f"dataset={dataset}", f"dataset.root={real_data}", f"architecture={architecture}",
        "architecture.width=0.25", "normalizer=spectral_norm", "training.log_every=5",
        "training.checkpoint_every=10", "evaluator.n_fake=200", "evaluator.n_real=200",
        f"evaluator.metrics={metrics}", "device=cpu", "training.steps=30",
    ]  # fmt: skip
    whole = prepare(configs.compose([*overrides, f"run_dir={tmp_path / 'whole'}"]))
    result = train(whole)
    assert result["status"] == "completed"
    assert 0 <= result["metrics"]["ms_ssim"] <= 1
    if dataset == "mnist":
        assert result["metrics"]["extractor_test_accuracy"] > 0.99
        assert result["metrics"]["fid_mnist_cnn"] > 0

    half = prepare(configs.compose([*overrides, f"run_dir={tmp_path / 'half'}"]))
    kept = checkpoint.load(whole / "checkpoints" / "step_00000020.pt")
    checkpoint.save(half / "checkpoints", kept.pop("step"), kept)
    assert train(half)["metrics"]["ms_ssim"] == result["metrics"]["ms_ssim"]
    losses = [
        [line["d_loss"] for line in files.read_jsonl(run / "train.jsonl") if line["step"] > 20]
        for run in (whole, half)
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 2
