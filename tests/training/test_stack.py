"""Trials that train as one program: each comes to what it comes to alone, in any company."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from gan_bench import config as configs
from gan_bench.config import Config
from gan_bench.data import stream
from gan_bench.registry import ARCHITECTURES, NORMALIZERS, REGULARIZERS
from gan_bench.training.randomness import RandomState
from gan_bench.training.stack import Member, Stack
from gan_bench.training.trainer import Trainer

CPU = torch.device("cpu")
SHAPES = {
    "mlp": (1, 8, 8), "infogan": (1, 8, 8), "dcgan": (1, 16, 16), "sndcgan": (1, 8, 8),
    "resnet_cifar": (1, 8, 8), "resnet_stl": (1, 16, 16), "resnet19": (1, 8, 8),
}  # fmt: skip


class Noise:
    """A split of random images, in memory."""

    in_memory = True
    labels = None

    def __init__(self, shape: tuple[int, ...]) -> None:
        rng = torch.Generator().manual_seed(7)
        self.tensor = torch.randint(256, (50, *shape), generator=rng).to(torch.uint8)

    def __len__(self) -> int:
        return len(self.tensor)


class Images:
    """A data set with that split."""

    name = "noise"
    num_classes = None

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.image_shape = shape
        self._split = Noise(shape)

    def split(self, name: str) -> Noise:
        return self._split


def config_of(*overrides: str) -> Config:
    return configs.compose(["training.batch_size=8", "latent.dim=6", *overrides])


def trials(*overrides: str, count: int = 3) -> list[Config]:
    """Configs that differ in all that may differ in a stack."""
    own = [[f"seed={k}", f"optimizer.lr={1e-3 * (k + 1)}", f"optimizer.beta1={0.4 * k}"] for k in
           range(count)]  # fmt: skip
    chosen = config_of(*overrides).regularizer
    if "weight" in chosen:
        for k, each in enumerate(own):
            each.append(f"regularizer.weight={0.5 + k}")
    return [config_of(*overrides, *each) for each in own]


def member(config: Config, dataset: Any, state: dict[str, Any] | None = None) -> Member:
    random = RandomState(CPU)
    with random.applied():
        trainer = Trainer(config, dataset, CPU)
        if state is not None:
            trainer.restore(state)
    return Member(trainer, random)


def state_of(member: Member) -> dict[str, Any]:
    with member.random.applied():
        return {"step": member.trainer.step, **member.trainer.state()}


def behaviour(trainer: Trainer) -> list[Tensor]:
    """What can be seen of the players: images, logits and losses."""
    game = trainer.game
    rng = torch.Generator().manual_seed(1)
    z = torch.rand(5, 6, generator=rng) * 2 - 1
    with torch.no_grad():
        game.generator.eval(), game.discriminator.eval()
        images = game.generator(z)
        logits = game.discriminator(torch.rand(images.shape, generator=rng) * 2 - 1)
        game.generator.train(), game.discriminator.train()
    return [images, logits, trainer.loss_sums]


def assert_same_state(one: Any, other: Any, where: str = "") -> None:
    if isinstance(one, Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            if key != "seconds":
                assert_same_state(one[key], other[key], f"{where}.{key}")
    else:
        assert one == other, where


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Networks, latents and images in float64.

    Adam makes whole steps of gradients that are nothing but rounding (of a bias before batch norm),
    so in float32 two ways of adding the same numbers part soon.
    """
    to_float = stream.to_float
    monkeypatch.setattr(stream, "to_float", lambda pixels: to_float(pixels).double())
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("architecture", sorted(SHAPES))
@pytest.mark.parametrize("normalizer", NORMALIZERS.names())
def test_every_network_trains_in_a_stack_as_alone(architecture, normalizer):
    names = sorted(REGULARIZERS.names())
    regularizer = names[(sorted(SHAPES).index(architecture) + len(normalizer)) % len(names)]
    check_stack(SHAPES[architecture], [
        f"architecture={architecture}", f"normalizer={normalizer}", f"regularizer={regularizer}",
        f"architecture.width={1 / 32 if architecture != 'mlp' else 0.1}",
    ])  # fmt: skip


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("regularizer", REGULARIZERS.names())
@pytest.mark.parametrize("loss", ["non_saturating", "wasserstein"])
def test_every_regularizer_acts_in_a_stack_as_alone(regularizer, loss):
    check_stack((1, 8, 8), [
        f"regularizer={regularizer}", f"loss={loss}", "training.n_disc=2", "training.ema_decay=0.9",
        "architecture.hidden=16",
    ])  # fmt: skip


def check_stack(shape: tuple[int, ...], overrides: list[str]) -> None:
    dataset = Images(shape)
    chosen = trials(*overrides)
    members = [member(config, dataset) for config in chosen]
    Stack(members).advance(4)
    for config, each in zip(chosen, members, strict=True):
        with torch.random.fork_rng():
            alone = Trainer(config, dataset, CPU)
            alone.advance(4)
            expected = alone.state()
        found = state_of(each)
        assert torch.equal(found["rng"], expected["rng"])
        assert found["data_position"] == expected["data_position"]
        assert (each.trainer.step, each.trainer.d_steps) == (alone.step, alone.d_steps)
        for ours, theirs in zip(behaviour(each.trainer), behaviour(alone), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_every_architecture_is_covered():
    assert set(SHAPES) == set(ARCHITECTURES.names())


MIXED = ["normalizer=spectral_norm", "regularizer=gradient_penalty", "architecture.hidden=16"]


def test_a_resumed_stack_goes_on_to_the_bit():
    dataset, chosen = Images((1, 8, 8)), trials(*MIXED)
    whole = [member(config, dataset) for config in chosen]
    Stack(whole).advance(9)
    first = [member(config, dataset) for config in chosen]
    Stack(first).advance(4)
    saved = [state_of(each) for each in first]
    second = [member(*pair) for pair in zip(chosen, [dataset] * 3, saved, strict=True)]
    Stack(second).advance(5)
    for one, other in zip(whole, second, strict=True):
        assert_same_state(state_of(one), state_of(other))


def test_stacked_anew_they_go_on_to_the_bit():
    dataset, chosen = Images((1, 8, 8)), trials(*MIXED)
    whole, again = ([member(config, dataset) for config in chosen] for _ in range(2))
    Stack(whole).advance(6)
    for _ in range(3):
        Stack(again).advance(2)
    for one, other in zip(whole, again, strict=True):
        assert_same_state(state_of(one), state_of(other))


def test_one_that_leaves_takes_its_state_along_and_goes_on_alone():
    """What a member saves is what a trainer of its own restores, and the reverse."""
    dataset, chosen = Images((1, 8, 8)), trials(*MIXED)
    members = [member(config, dataset) for config in chosen]
    Stack(members).advance(3)
    left = state_of(members[0])
    Stack(members[1:]).advance(2)
    assert_same_state(state_of(members[0]), left)
    with torch.random.fork_rng():
        alone = Trainer(chosen[0], dataset, CPU)
        alone.restore(left)
        alone.advance(alone.step + 2)
        reference = Trainer(chosen[0], dataset, CPU)
        reference.advance(5)
        for ours, theirs in zip(behaviour(alone), behaviour(reference), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_members_may_be_at_different_steps_and_others_do_not_matter():
    dataset, chosen = Images((1, 8, 8)), trials(*MIXED)
    early, late = (member(config, dataset) for config in chosen[:2])
    with late.random.applied():
        late.trainer.advance(3)
    Stack([early, late]).advance(2)
    assert (early.trainer.step, late.trainer.step) == (2, 5)
    with torch.random.fork_rng():
        reference = Trainer(chosen[1], dataset, CPU)
        reference.advance(5)
        for ours, theirs in zip(behaviour(late.trainer), behaviour(reference), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_diverged_member_leaves_the_others_alone():
    dataset, chosen = Images((1, 8, 8)), trials("architecture.hidden=16")
    runs = []
    for spoilt in (False, True):
        members = [member(config, dataset) for config in chosen]
        if spoilt:
            with torch.no_grad():
                next(members[1].trainer.game.generator.parameters()).fill_(float("nan"))
        Stack(members).advance(3)
        runs.append(members)
    assert torch.isnan(runs[1][1].trainer.loss_sums).any()
    for k in (0, 2):
        assert_same_state(state_of(runs[0][k]), state_of(runs[1][k]))


def test_the_global_random_state_is_left_as_it_was():
    dataset, chosen = Images((1, 8, 8)), trials("regularizer=dragan", "architecture.hidden=16")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    members = [member(config, dataset) for config in chosen]
    Stack(members).advance(2)
    assert torch.equal(torch.get_rng_state(), before)
