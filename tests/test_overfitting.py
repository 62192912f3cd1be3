"""D's accuracy on training, held-out and generated images."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from gan_bench import config as configs
from gan_bench.data.pixels import to_float
from gan_bench.overfitting import discriminator_accuracy
from gan_bench.registry import DATASETS

CPU = torch.device("cpu")


class Constant(nn.Module):
    """A generator whose images are all one grey."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.full((len(z), 1, 8, 8), 0.25)


class Memory(nn.Module):
    """A discriminator that knows the training images by heart and nothing else."""

    def __init__(self, images: Tensor, low: float, high: float) -> None:
        super().__init__()
        self.known = {image.numpy().tobytes() for image in to_float(images)}
        self.low, self.high = low, high
        self.was_training = True

    def forward(self, images: Tensor) -> Tensor:
        self.was_training = self.training
        found = [image.numpy().tobytes() in self.known for image in images]
        return torch.where(torch.tensor(found), self.high, self.low)


@pytest.mark.parametrize(
    ("loss", "low", "high"),
    [("non_saturating", -0.1, 0.1), ("least_squares", 0.4, 0.6), ("hinge", -3.0, 0.2)],
)
def test_a_discriminator_that_learnt_by_heart_is_found_out(
    loss: str, low: float, high: float
) -> None:
    config = configs.compose([f"loss={loss}", "evaluator.n_fake=2000", "latent.dim=3"])
    dataset = DATASETS.build("digits")
    train = dataset.split("train")
    memory = Memory(train.images(range(len(train))), low, high)
    found = discriminator_accuracy(memory, Constant(), config, dataset, CPU)
    test = to_float(dataset.split("test").images(range(359)))
    twins = sum(image.numpy().tobytes() in memory.known for image in test) / 359
    assert found == {"d_accuracy_train": 1.0, "d_accuracy_test": twins, "d_accuracy_fake": 1.0}
    assert twins < 0.05
    assert not memory.was_training and memory.training
    fooled = Memory(train.images(range(len(train))), high, high)
    assert discriminator_accuracy(fooled, Constant(), config, dataset, CPU) == {
        "d_accuracy_train": 1.0,
        "d_accuracy_test": 1.0,
        "d_accuracy_fake": 0.0,
    }


def test_part_of_the_images_is_a_random_part_by_the_seed() -> None:
    config = configs.compose(["evaluator.n_fake=100", "latent.dim=3"])
    dataset = DATASETS.build("digits")
    half = dataset.split("train").images(range(719))
    found = [
        discriminator_accuracy(
            Memory(half, -1.0, 1.0),
            Constant(),
            dataclasses.replace(config, evaluator=dataclasses.replace(config.evaluator, seed=seed)),
            dataset,
            CPU,
        )["d_accuracy_train"]
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1] != found[2]
    assert found[0] == pytest.approx(0.5, abs=0.2)


def test_a_critic_takes_nothing_for_real() -> None:
    config = configs.compose(["loss=wasserstein", "evaluator.n_fake=10"])
    with pytest.warns(UserWarning, match="critic"):
        assert not discriminator_accuracy(
            nn.Identity(), Constant(), config, DATASETS.build("digits"), CPU
        )
