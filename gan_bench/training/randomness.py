"""Torch's global random state: of the CPU, and of a GPU where one trains."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

State = tuple[Tensor, Tensor | None]
"""Of the CPU's generator and of the device's; None: the device is the CPU."""


def random_state(device: torch.device) -> State:
    """Return the present state."""
    on_gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return torch.get_rng_state(), on_gpu


def set_random_state(state: State, device: torch.device) -> None:
    """Go on from a state; that of a GPU is passed over on a CPU."""
    torch.set_rng_state(state[0].cpu())
    if device.type == "cuda" and state[1] is not None:
        torch.cuda.set_rng_state(state[1].cpu(), device)


class RandomState:
    """The random state of a trial that shares its process with others."""

    def __init__(self, device: torch.device) -> None:
        """Start with the present state of torch's global generators."""
        self._device = device
        self._state = random_state(device)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Make torch's global random state this trial's within the block."""
        outside = random_state(self._device)
        set_random_state(self._state, self._device)
        try:
            yield
        finally:
            self._state = random_state(self._device)
            set_random_state(outside, self._device)
