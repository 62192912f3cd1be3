"""DINOv2 and CLIP by timm: the path on a small network, and both architectures without weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from gan_bench.errors import ConfigError, DataError, WeightsError
from gan_bench.evaluation import build_extractor, evaluate, features, vision
from gan_bench.evaluation.vision import MODELS, VisionExtractor, VisionModel, resized

SMALL = VisionModel("test_vit.r160_in1k", (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), {"num_classes": 0})


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny transformer in DINOv2's place: timm's own test model."""
    monkeypatch.setitem(vision.MODELS, "dinov2", SMALL)


def random_weights(path: Path, spec: VisionModel = SMALL) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model(spec.model, pretrained=False, **spec.options)
    save = save_file if path.suffix == ".safetensors" else torch.save
    save(network.state_dict(), path)
    return network.eval()


def cubic_matrix(old: int, new: int) -> Tensor:
    """Cubic convolution (Keys 1981, a = -0.75) by (new + 0.1) / old, edges repeated: (new, old)."""
    matrix = torch.zeros(new, old, dtype=torch.float64)
    for row in range(new):
        place = (row + 0.5) * old / (new + 0.1) - 0.5
        for column in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            x = abs(place - column)
            near = 1.25 * x**3 - 2.25 * x**2 + 1
            far = -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)
            matrix[row, min(max(column, 0), old - 1)] += near if x <= 1 else far
    return matrix


def at_224(network: Any) -> Any:
    """Make a network of timm take 224 pixels by the formula of DINOv2's code, in float64."""
    old, embedding = network.patch_embed.grid_size[0], network.pos_embed.detach().double()
    network.set_input_size((224, 224))
    matrix = cubic_matrix(old, network.patch_embed.grid_size[0])
    tokens = network.num_prefix_tokens
    grid = embedding[0, tokens:].reshape(old, old, -1)
    places = torch.einsum("ip,jq,pqd->ijd", matrix, matrix, grid).flatten(0, 1)
    network.pos_embed.data = torch.cat([embedding[0, :tokens], places])[None].float()
    return network


def images(count: int = 5, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, channels, 32, 40), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_features_are_timms(tmp_path: Path, small: None, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    network = at_224(random_weights(path))
    before = torch.random.get_rng_state()
    extractor = build_extractor("dinov2", weights_path=path)
    assert torch.equal(before, torch.random.get_rng_state())
    found, logits = extractor(images())
    mean, std = (torch.tensor(each)[None, :, None, None] for each in (SMALL.mean, SMALL.std))
    with torch.no_grad():
        expected = network((resized(images()) / 255 - mean) / std)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert found.shape == (5, extractor.feature_dim) and logits.shape == (5, 0)
    grey, _ = extractor(images(2, channels=1))
    torch.testing.assert_close(grey, extractor(images(2, channels=1).repeat(1, 3, 1, 1))[0])
    with pytest.raises(DataError, match="1 or 3 channels"):
        extractor(images(1, channels=2))


def test_the_digest_is_of_the_tensors_whatever_the_file(tmp_path: Path, small: None) -> None:
    digests = set()
    for suffix in (".safetensors", ".pth"):
        network = random_weights(tmp_path / f"weights{suffix}")
        digests.add(features.state_digest(network.state_dict()))
        extractor = build_extractor("dinov2", weights_path=tmp_path / f"weights{suffix}")
        digests.add(extractor.digest)
    assert len(digests) == 1


def test_figures_carry_the_name(tmp_path: Path, small: None) -> None:
    path = tmp_path / "weights.safetensors"
    random_weights(path)
    found = evaluate(images(6), images(8), metrics=["fid"], extractor="dinov2", weights_path=path)
    assert found["fid_dinov2"] > 0 and found["resize"] == "bicubic_antialias_224"
    with pytest.raises(ConfigError, match="extractor dinov2 gives none"):
        evaluate(images(20), None, metrics=["is"], extractor="dinov2", weights_path=path)


def test_resizing_is_pils_to_a_grey_level() -> None:
    for height, width in ((32, 32), (64, 100), (300, 300)):
        draws = np.random.default_rng(0)
        array = draws.integers(0, 256, (height, width, 3), dtype=np.uint8)
        expected = np.array(Image.fromarray(array).resize((224, 224), Image.Resampling.BICUBIC))
        found = resized(torch.from_numpy(array).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
        assert np.abs(found.numpy() - expected).max() <= 1


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 torn"])
@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_an_unreadable_file_is_one_line(
    tmp_path: Path, small: None, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert "can't be used" in refusal(path)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_a_truncated_file_is_one_line(tmp_path: Path, small: None, name: str) -> None:
    path = tmp_path / name
    random_weights(path)
    path.write_bytes(path.read_bytes()[:-1000])
    assert "can't be used" in refusal(path)


def test_clips_repository_is_the_one_that_timm_downloads_from(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"timm/vit_large_patch14_clip_224\.openai "):
        VisionExtractor("clip", tmp_path / "none.safetensors")


def test_a_missing_file_and_weights_of_another_network_are_one_line(
    tmp_path: Path, small: None
) -> None:
    assert "are missing" in refusal(tmp_path / "none.safetensors")
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    assert "can't be used" in refusal(path)


def test_a_file_cannot_run_code(tmp_path: Path, small: None) -> None:
    target = tmp_path / "was_run"

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (target,)

    torch.save({"weight": Payload()}, tmp_path / "a.pth")
    refusal(tmp_path / "a.pth")
    assert not target.exists()


def refusal(path: Path | None) -> str:
    with pytest.raises(WeightsError) as caught:
        build_extractor("dinov2", weights_path=path)
    text = str(caught.value)
    assert "\n" not in text and "evaluator.weights_path=" in text
    return text


def test_a_failed_download_is_one_line(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    assert "no route to host" in refusal(None)


def test_without_timm_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"pip install 'gan-bench\[extractors\]'"):
        VisionExtractor("clip")


def test_the_names_are_those_of_the_models() -> None:
    assert set(features.VISION) == set(MODELS)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dim"), [("dinov2", 1024), ("clip", 768)])
def test_the_real_architectures_give_the_published_size(
    tmp_path: Path, name: str, dim: int
) -> None:
    path = tmp_path / "weights.safetensors"
    network = (
        at_224(random_weights(path, MODELS[name]))
        if name == "dinov2"
        else (random_weights(path, MODELS[name]))
    )
    extractor = build_extractor(name, weights_path=path)
    found, _ = extractor(images(2))
    mean, std = (
        torch.tensor(each)[None, :, None, None] for each in (MODELS[name].mean, MODELS[name].std)
    )
    with torch.no_grad():
        expected = network((resized(images(2)) / 255 - mean) / std)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert found.shape == (2, dim) == (2, extractor.feature_dim)
    config = timm.get_pretrained_cfg(MODELS[name].model)
    assert (config.mean, config.std) == (MODELS[name].mean, MODELS[name].std)
    assert config.interpolation == "bicubic"
