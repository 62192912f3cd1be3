"""Many small GANs trained together as one program.

Trials of one architecture differ in learning rates, betas, the penalty's weight and the seed. One
step of a small network is mostly the overhead of its operations, so the networks of K trials are
stacked: every operation works on K of them (torch.func.vmap). Each trial keeps its own random
stream, data order, losses and Adam, so its result is the one that it has alone, but for the
rounding of sums (a product of stacked matrices adds in another order).

The trials' own modules and optimizers stay in use: their tensors become views of the stack's. What
evaluates, saves or restores a trial needs to know nothing of the stack, and a trial leaves it by
not being stepped any more.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gan_bench.data.stream import BatchStream
from gan_bench.interfaces import ConstrainsWeights
from gan_bench.precision import float32_arithmetic
from gan_bench.regularizers import GradientRegularizer, squared_gradients
from gan_bench.training.randomness import RandomState
from gan_bench.training.trainer import Trainer

_ALIGNMENT = 16
"""Numbers to which a trial's parameters begin: a cache line of float32."""


@dataclasses.dataclass(frozen=True)
class Member:
    """A trial that trains in a stack."""

    trainer: Trainer
    random: RandomState


class Stack:
    """Trains members together; all have the same networks, loss, batch size and n_disc."""

    def __init__(self, members: Sequence[Member]) -> None:
        """Move the members' weights and moments into shared storage.

        Args:
            members: One or more. Their trainers may be at different steps.
        """
        self._members = list(members)
        self._trainers = [member.trainer for member in members]
        games = [trainer.game for trainer in self._trainers]
        self._game = games[0]
        self._generators = _Networks(
            [game.generator for game in games], [game.generator_optimizer for game in games]
        )
        self._discriminators = _Networks(
            [game.discriminator for game in games], [game.discriminator_optimizer for game in games]
        )
        self._sums = torch.stack([trainer.loss_sums for trainer in self._trainers])
        for trainer, sums in zip(self._trainers, self._sums, strict=True):
            trainer.loss_sums = sums
            trainer.stream.share_images(self._trainers[0].stream)
        self._constraints = [
            (trainer.game.regularizer, trainer.game.discriminator)
            for trainer in self._trainers
            if isinstance(trainer.game.regularizer, ConstrainsWeights)
        ]

    def advance(self, steps: int, stop: Callable[[], bool] = lambda: False) -> None:
        """Train every member for so many G steps more, or until `stop()` holds after a step."""
        started = time.perf_counter()
        done = 0
        tf32 = self._trainers[0].config.training.precision == "tf32"
        with warnings.catch_warnings(), float32_arithmetic(tf32=tf32):
            # torch would rather have gradients without gaps; here they lie between trials
            warnings.filterwarnings("ignore", "grad and param do not obey", UserWarning)
            while done < steps and not stop():
                self._step()
                done += 1
        seconds = time.perf_counter() - started
        for trainer in self._trainers:
            # of the device's time each has had its share
            trainer.seconds += seconds / len(self._trainers)

    def _step(self) -> None:
        training = self._trainers[0].config.training
        for trainer in self._trainers:
            trainer.whole = False
        for _ in range(training.n_disc):
            d_losses, penalties = self._discriminator_step()
        g_losses = self._generator_step(training.batch_size)
        self._sums += torch.stack([d_losses, g_losses, penalties, torch.ones_like(g_losses)], 1)
        for trainer in self._trainers:
            trainer.count_step()

    def _discriminator_step(self) -> tuple[Tensor, Tensor]:
        """Update every D once; see `step.discriminator_step`."""
        real = self._real_images()
        with torch.no_grad():
            fake = self._fakes(real.shape[1]).to(real.dtype)
        loss = torch.func.vmap(self._game.loss.discriminator)
        losses: Tensor = loss(self._logits(real), self._logits(fake))
        penalties = self._penalties(real, fake)
        self._discriminators.zero_grad()
        (losses + penalties).sum().backward()  # type: ignore[no-untyped-call]
        self._discriminators.step()
        for regularizer, discriminator in self._constraints:
            regularizer.after_step(discriminator)
        return losses.detach(), penalties.detach()

    def _generator_step(self, batch_size: int) -> Tensor:
        """Update every G once; see `step.generator_step`."""
        self._discriminators.requires_grad_(False)
        loss = torch.func.vmap(self._game.loss.generator)
        losses: Tensor = loss(self._logits(self._fakes(batch_size)))
        self._generators.zero_grad()
        losses.sum().backward()  # type: ignore[no-untyped-call]
        self._generators.step()
        self._discriminators.requires_grad_(True)
        return losses.detach()

    def _real_images(self) -> Tensor:
        """Return the next batch of every member, (K, N, C, H, W)."""
        return BatchStream.next_of([trainer.stream for trainer in self._trainers])

    def _fakes(self, batch_size: int) -> Tensor:
        latents = []
        for member in self._members:
            with member.random.applied():
                latents.append(member.trainer.game.latents(batch_size))
        with self._game.autocast():
            return self._generators(torch.stack(latents))

    def _logits(self, images: Tensor) -> Tensor:
        """Return the logits (K, N) in float32 for images (K, N, C, H, W)."""
        with self._game.autocast():
            return self._discriminators(images).float()

    def _penalties(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return every member's penalty, (K,).

        Gradients are taken of all D at once; what else a regularizer does, it does by itself on its
        member's own D.
        """
        found, points = [], []
        for member, *images in zip(self._members, real, fake, strict=True):
            game = member.trainer.game
            with member.random.applied(), self._game.autocast():
                if isinstance(game.regularizer, GradientRegularizer):
                    points.append(game.regularizer.points(*images))
                else:
                    found.append(game.regularizer(game.discriminator, *images))
        if not points:
            return torch.stack(found)
        with self._game.autocast():
            squares = squared_gradients(self._all_at_once, torch.stack(points).flatten(0, 1))
            return torch.stack(
                [
                    trainer.game.regularizer.penalty(each)  # type: ignore[attr-defined]
                    for trainer, each in zip(
                        self._trainers, squares.view(real.shape[:2]), strict=True
                    )
                ]
            )

    def _all_at_once(self, images: Tensor) -> Tensor:
        """Return logits (K N,) for images (K N, C, H, W), each by its own member's D."""
        logits = self._discriminators(images.view(len(self._members), -1, *images.shape[1:]))
        return logits.flatten()


class _Networks:
    """K networks of one shape: called at once, optimized each by its own Adam."""

    def __init__(
        self, modules: Sequence[nn.Module], optimizers: Sequence[torch.optim.Optimizer]
    ) -> None:
        for optimizer in optimizers:
            optimizer.state_dict()  # if they come from another stack: see _take_over_steps
        self._base = copy.deepcopy(modules[0]).to("meta")
        self._optimizers = list(optimizers)
        named = [dict(module.named_parameters()) for module in modules]
        shapes = {name: parameter for name, parameter in named[0].items()}
        starts, size = _starts(shapes)
        first = next(iter(shapes.values()))
        self._weights, self._gradients, self._means, self._squares = (
            torch.zeros(len(modules), size, dtype=first.dtype, device=first.device)
            for _ in range(4)
        )
        self._parameters: dict[str, Tensor] = {}
        for name, like in shapes.items():
            views = [
                _view(flat, like, starts[name])
                for flat in (self._weights, self._gradients, self._means, self._squares)
            ]
            for k, parameters in enumerate(named):
                self._move(optimizers[k], parameters[name], [view[k] for view in views])
            self._parameters[name] = views[0].requires_grad_(True)
            self._parameters[name].grad = views[1]
        buffers = [dict(module.named_buffers()) for module in modules]
        self._buffers = {name: torch.stack([each[name] for each in buffers]) for name in buffers[0]}
        for k, each in enumerate(buffers):
            for name, buffer in each.items():
                buffer.data = self._buffers[name][k]
        self._adam = self._joined()
        self._forward = torch.func.vmap(self._call)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Apply each network to its own inputs, (K, N, ...) -> (K, N, ...)."""
        outputs: Tensor = self._forward(self._parameters, self._buffers, inputs)
        return outputs

    def _call(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], inputs: Tensor
    ) -> Any:
        return torch.func.functional_call(self._base, (dict(parameters), dict(buffers)), (inputs,))

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        self._gradients.zero_()

    def requires_grad_(self, wanted: bool) -> None:
        """Let gradients flow into the weights, or not."""
        for parameter in self._parameters.values():
            parameter.requires_grad_(wanted)

    def step(self) -> None:
        """Let each network's Adam take a step."""
        self._adam.step()

    def _move(
        self, optimizer: torch.optim.Optimizer, parameter: Tensor, views: Sequence[Tensor]
    ) -> None:
        """Let a network's parameter, its gradient and its moments lie in the stack."""
        weight, gradient, mean, square = views
        weight.copy_(parameter.detach())
        parameter.data, parameter.grad = weight, gradient
        state = optimizer.state[parameter]
        if state:
            mean.copy_(state["exp_avg"])
            square.copy_(state["exp_avg_sq"])
        else:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
        state["exp_avg"], state["exp_avg_sq"] = mean, square

    def _joined(self) -> torch.optim.Optimizer:
        """Return one Adam with a flat parameter for each network."""
        flats = [nn.Parameter(weights) for weights in self._weights]
        groups = [
            {
                "params": [flat],
                **{name: optimizer.param_groups[0][name] for name in ("lr", "betas", "eps")},
            }
            for flat, optimizer in zip(flats, self._optimizers, strict=True)
        ]
        adam = torch.optim.Adam(groups, fused=True)
        for k, (flat, optimizer) in enumerate(zip(flats, self._optimizers, strict=True)):
            flat.grad = self._gradients[k]
            steps = next(iter(optimizer.state.values()))["step"]
            adam.state[flat] = {
                "step": steps.clone(),
                "exp_avg": self._means[k],
                "exp_avg_sq": self._squares[k],
            }
            optimizer.register_state_dict_pre_hook(
                functools.partial(_take_over_steps, adam.state[flat]["step"])
            )
        return adam


def _take_over_steps(steps: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Before an optimizer's state is read, bring its counts of steps up to date."""
    for state in optimizer.state.values():
        state["step"].copy_(steps)


def _starts(shapes: Mapping[str, Tensor]) -> tuple[dict[str, int], int]:
    """Return where each parameter begins in a flat tensor, and the whole size."""
    starts, end = {}, 0
    for name, parameter in shapes.items():
        starts[name] = end
        end += -(-parameter.numel() // _ALIGNMENT) * _ALIGNMENT
    return starts, end


def _view(flat: Tensor, like: Tensor, start: int) -> Tensor:
    """Return the part of flat (K, size) that begins at `start` as (K, *shape), laid out `like`."""
    return flat.as_strided(
        (len(flat), *like.shape), (flat.shape[1], *like.stride()), flat.storage_offset() + start
    )
