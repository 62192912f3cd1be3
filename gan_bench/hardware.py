"""The device that a config names, and what a figure may depend on: hardware and versions."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator

import numpy
import torch
import torchvision

import gan_bench
from gan_bench.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """Return the device a config names; ConfigError if it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device '{name}' is unknown; use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device '{name}' is not there: {torch.cuda.device_count()} GPUs are visible; "
            "use device=cpu"
        )
    return device


@contextlib.contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Let torch use so many CPU threads within the block; None leaves their number alone."""
    previous = torch.get_num_threads()
    torch.set_num_threads(previous if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(previous)


def device_name(device: torch.device) -> str:
    """Name the hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({platform.processor() or platform.machine()}, {torch.get_num_threads()} threads)"


def versions() -> dict[str, str]:
    """Return the versions that a figure may depend on."""
    return {
        "gan_bench": gan_bench.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
    }
