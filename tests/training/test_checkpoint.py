"""Checkpoints: verified when read, two are kept, a corrupt one is named and passed over."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gan_bench.errors import CheckpointError
from gan_bench.training import checkpoint


def damage(path: Path) -> None:
    """Flip a byte in the middle of the tensors."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def state(value: float) -> dict[str, object]:
    return {"weights": torch.full((10_000,), value)}


def test_round_trip_and_the_newest_two_are_kept(tmp_path: Path):
    for step in (1, 2, 10):
        checkpoint.save(tmp_path, step, state(step))
    assert [path.name for path in checkpoint.existing(tmp_path)] == [
        "step_00000010.pt", "step_00000002.pt",
    ]  # fmt: skip
    content = checkpoint.load_newest(tmp_path)
    assert content["step"] == 10 and (content["weights"] == 10).all()


def test_none_at_all():
    assert checkpoint.load_newest(Path("nowhere")) is None


@pytest.mark.parametrize("how", ["flipped", "truncated", "empty"])
def test_a_corrupt_newest_is_named_and_the_one_before_is_used(tmp_path: Path, how):
    checkpoint.save(tmp_path, 1, state(1))
    newest = checkpoint.save(tmp_path, 2, state(2))
    if how == "flipped":
        damage(newest)
    else:
        newest.write_bytes(newest.read_bytes()[: 1000 if how == "truncated" else 0])
    with pytest.warns(UserWarning, match="step_00000002.pt is corrupt.*using step_00000001.pt"):
        content = checkpoint.load_newest(tmp_path)
    assert content["step"] == 1


def test_all_corrupt_is_an_error(tmp_path: Path):
    damage(checkpoint.save(tmp_path, 1, state(1)))
    with pytest.raises(CheckpointError, match="is corrupt.*delete it"):
        checkpoint.load_newest(tmp_path)


def test_another_version_is_refused(tmp_path: Path):
    path = tmp_path / "step_00000001.pt"
    torch.save({"schema": 99, "step": 1}, path)
    with pytest.raises(CheckpointError, match="schema 99, this version reads 1"):
        checkpoint.load(path)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    path = tmp_path / "step_00000001.pt"
    torch.save({"schema": 1, "step": 1, "x": Evil()}, path)
    with pytest.raises(CheckpointError, match="corrupt"):
        checkpoint.load(path)
