"""Checkpoints: all that a run needs to go on as if it had never been stopped.

A checkpoint is a zip of tensors and plain values (torch.save), so it is loaded without unpickling
code, and its checksums tell a corrupt file. The newest two are kept: where the newest is corrupt,
the run goes on from the one before. Beside them, best.pt holds the best-evaluated generator.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from gan_bench import files
from gan_bench.errors import CheckpointError

SCHEMA = 1
KEPT = 2
BEST = "best.pt"


def path_of(folder: Path, step: int) -> Path:
    """Return the path of a step's checkpoint."""
    return folder / f"step_{step:08d}.pt"


def existing(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, newest first."""
    return sorted(folder.glob("step_*.pt"), reverse=True)


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write a checkpoint atomically and drop all but the newest two.

    Args:
        folder: The run's checkpoint folder.
        step: G steps done.
        state: Tensors, numbers, strings, and lists and dicts of them.

    Raises:
        StorageError: The disk is full, read-only, or the path can't be written.
    """
    path = path_of(folder, step)
    _write(path, step, state)
    for old in existing(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def save_best(folder: Path, step: int, generator: dict[str, torch.Tensor]) -> None:
    """Write best.pt, the evaluated generator's weights, atomically (StorageError)."""
    _write(folder / BEST, step, {"generator": generator, "average": None})


def _write(path: Path, step: int, state: dict[str, Any]) -> None:
    buffer = io.BytesIO()  # torch.save's own writer turns a full disk into a fault of its own
    torch.save({"schema": SCHEMA, "step": step, **_alone(state)}, buffer)
    files.write_bytes(path, buffer.getvalue())


def _alone(state: Any) -> Any:
    """Copy tensors that are part of larger ones, as a stacked trial's are: all would be saved."""
    if isinstance(state, torch.Tensor):
        return state.clone() if state.untyped_storage().nbytes() > state.nbytes else state
    if isinstance(state, dict):
        return {key: _alone(value) for key, value in state.items()}
    return [_alone(value) for value in state] if isinstance(state, list) else state


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read and verify one checkpoint.

    Raises:
        CheckpointError: It is missing, corrupt, or from an incompatible version.
    """
    if not path.exists():
        raise CheckpointError(f"checkpoint {path} is missing")
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken is not None:
            raise zipfile.BadZipFile(f"checksum of {broken} is wrong")
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch and zipfile have many ways to say that a file is damaged
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"checkpoint {path} is corrupt ({reason}); delete it to go on from an earlier state"
        ) from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else None
        raise CheckpointError(
            f"checkpoint {path} has schema {found}, this version reads {SCHEMA}; "
            "use the version of gan_bench that wrote it"
        )
    return content


def load_newest(folder: Path, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """Read the newest checkpoint that is whole; None if there is none at all.

    Raises:
        CheckpointError: There are checkpoints, and none can be used.
    """
    paths = existing(folder)
    for path in paths:
        try:
            return load(path, device)
        except CheckpointError as error:
            if path == paths[-1]:
                raise
            warnings.warn(f"{error}; using {paths[paths.index(path) + 1].name}", stacklevel=2)
    return None
