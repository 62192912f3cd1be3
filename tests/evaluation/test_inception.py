"""The Inception extractor on weights of our own: same arithmetic, safe loading, clear errors."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import (
    URL_INCEPTION_V3,
    FeatureExtractorInceptionV3,
)

from gan_bench.errors import DataError, WeightsError
from gan_bench.evaluation import build_extractor, evaluate, inception
from gan_bench.files import file_digest


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, saved as the published ones are."""
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        patch.setattr(
            "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url",
            lambda *args, **options: {},
        )
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        network = FeatureExtractorInceptionV3("any", ["2048"])
    torch.save(network.state_dict(), path)
    return path


def images(count: int = 3, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, channels, 32, 32), generator=generator, dtype=torch.uint8)


def message(caught: pytest.ExceptionInfo[WeightsError]) -> str:
    text = str(caught.value)
    assert "\n" not in text
    assert "weights_path=" in text and URL_INCEPTION_V3 in text
    return text


def test_features_are_those_of_torch_fidelity(weights: Path) -> None:
    extractor = build_extractor("inception", weights_path=weights)
    features, logits = extractor(images())
    oracle = FeatureExtractorInceptionV3(
        "inception-v3-compat",
        ["2048", "logits_unbiased"],
        feature_extractor_weights_path=str(weights),
    )
    for shape in ((3, 32, 32), (3, 299, 299), (3, 310, 75)):
        pixels = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
        for found, expected in zip(extractor(pixels), oracle(pixels), strict=True):
            error = (found - expected).abs().max() / expected.abs().max()
            assert float(error) < 1e-6
    assert features.shape == (3, extractor.feature_dim) and features.dtype == torch.float32
    grey, _ = extractor(images(1, channels=1))
    torch.testing.assert_close(grey, oracle(images(1, channels=1).repeat(1, 3, 1, 1))[0])
    with pytest.raises(DataError, match="1 or 3 channels"):
        extractor(images(1, channels=2))


def test_only_the_published_weights_have_no_suffix(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = file_digest(weights)
    before = torch.random.get_rng_state()
    other = build_extractor("inception", weights_path=weights)
    assert torch.equal(before, torch.random.get_rng_state())
    assert (other.digest, other.suffix) == (digest, f"_inception_{digest[:8]}")
    monkeypatch.setattr(inception, "PUBLISHED", digest[:8])
    assert build_extractor("inception", weights_path=weights).suffix == ""


@pytest.mark.slow
def test_bf16_is_another_extractor_with_a_name_of_its_own(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = build_extractor("inception", weights_path=weights)
    half = build_extractor("inception:bf16", weights_path=weights)
    digest = file_digest(weights)[:8]
    assert (half.name, half.precision) == ("inception:bf16", "bf16")
    assert half.suffix == f"_inception_bf16_{digest}"
    found, expected = half(images())[0], exact(images())[0]
    assert found.dtype == torch.float32
    error = float((found - expected).norm() / expected.norm())
    assert 1e-5 < error < 0.1
    monkeypatch.setattr(inception, "PUBLISHED", digest)
    assert build_extractor("inception:bf16", weights_path=weights).suffix == "_inception_bf16"


def test_unquantized_pixels_of_whole_numbers_are_the_same_images(weights: Path) -> None:
    extractor = build_extractor("inception", weights_path=weights)
    torch.testing.assert_close(extractor(images())[0], extractor(images().float())[0])


def test_keys_of_other_weights_carry_their_digest(weights: Path) -> None:
    found = evaluate(
        images(4), images(4), metrics=["kid", "is"], weights_path=weights, batch_size=3
    )
    suffix = f"_inception_{file_digest(weights)[:8]}"
    assert {f"kid_mean{suffix}", f"kid_std{suffix}", f"is_mean_1split{suffix}"} <= set(found)
    assert not {"kid_mean", "kid_std", "is_mean"} & set(found)
    assert f";extractor=inception@{file_digest(weights)[:12]};" in found["protocol"]
    assert found["resize"] == "bilinear_tf1_299"


def test_the_expected_digest_is_the_one_torch_fidelity_names() -> None:
    assert inception.URL == URL_INCEPTION_V3
    assert inception.PUBLISHED in inception.FILE_NAME


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        build_extractor("inception", weights_path=tmp_path / "none.pth")
    assert "missing" in message(caught)


def test_a_truncated_file_is_told_by_the_digest_in_its_name(tmp_path: Path, weights: Path) -> None:
    path = tmp_path / inception.FILE_NAME
    path.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(WeightsError) as caught:
        build_extractor("inception", weights_path=path)
    assert "truncated or altered" in message(caught)


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 torn"])
def test_an_unreadable_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        build_extractor("inception", weights_path=path)
    assert "can't be read" in message(caught)


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    target = tmp_path / "was_run"

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (target,)

    path = tmp_path / "weights.pth"
    torch.save({"fc.weight": Payload()}, path)
    with pytest.raises(WeightsError):
        build_extractor("inception", weights_path=path)
    assert not target.exists()


@pytest.mark.parametrize("content", [nn.Linear(2, 2).state_dict(), [torch.zeros(1)]])
def test_weights_of_another_network_are_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError) as caught:
        build_extractor("inception", weights_path=path)
    message(caught)


def test_no_network_is_one_line_and_a_cached_file_is_found(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        build_extractor("inception")
    assert "no route to host" in message(caught)

    digest = file_digest(weights)
    monkeypatch.setattr(inception, "FILE_NAME", f"weights-{digest[:8]}.pth")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / inception.FILE_NAME).symlink_to(weights)
    assert build_extractor("inception").digest == digest


def test_a_download_is_checked_before_it_is_kept(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inception, "URL", weights.as_uri())
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsError, match="arrived damaged"):
        build_extractor("inception")
    assert not list(tmp_path.rglob("*.pth"))
    digest = file_digest(weights)
    monkeypatch.setattr(inception, "PUBLISHED", digest[:8])
    monkeypatch.setattr(inception, "FILE_NAME", f"weights-{digest[:8]}.pth")
    assert build_extractor("inception").suffix == ""
    assert len(list(tmp_path.rglob("*.pth"))) == 1
