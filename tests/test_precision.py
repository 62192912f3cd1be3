"""What float32 means while something is trained or measured."""

from __future__ import annotations

import pytest
import torch

from gan_bench import config as configs
from gan_bench.precision import float32_arithmetic, full_float32
from gan_bench.registry import DATASETS
from gan_bench.samples import generate
from gan_bench.training.randomness import RandomState
from gan_bench.training.stack import Member, Stack
from gan_bench.training.trainer import Trainer

CPU = torch.device("cpu")


def settings() -> list[str]:
    backends = torch.backends
    operations = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul,
                  backends.mkldnn.conv)  # fmt: skip
    return [operation.fp32_precision for operation in operations]


def test_settings_are_changed_within_and_restored_after_a_fault():
    before = settings()
    with pytest.raises(RuntimeError), float32_arithmetic(tf32=True):
        assert settings() == ["tf32", "tf32", "ieee", "ieee"]
        with full_float32(CPU):
            assert settings() == ["ieee"] * 4
        assert settings() == ["tf32", "tf32", "ieee", "ieee"]
        raise RuntimeError
    assert settings() == before


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("precision", "on_gpu"), [("float32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")]
)
def test_training_runs_in_the_precision_that_its_config_names(precision, on_gpu, together):
    config = configs.compose([f"training.precision={precision}", "architecture.hidden=4"])
    seen = []
    random = RandomState(CPU)
    with random.applied():
        trainer = Trainer(config, DATASETS.from_config(config.dataset), CPU)
    latents = trainer.game.latents
    trainer.game.latents = lambda n: (seen.append(settings()), latents(n))[1]
    before = settings()
    if together:
        Stack([Member(trainer, random)]).advance(1)
    else:
        trainer.advance(1)
    assert seen == [[on_gpu, on_gpu, "ieee", "ieee"]] * 2 and settings() == before


def test_evaluated_images_are_made_in_float32():
    seen = []

    class Recorder(torch.nn.Module):
        def forward(self, z):
            seen.append((settings(), torch.is_autocast_enabled("cpu")))
            return z

    with torch.autocast("cpu", torch.bfloat16), float32_arithmetic(tf32=True):
        generate(Recorder(), torch.zeros(2, 3))
    assert seen == [(["ieee"] * 4, False)]
