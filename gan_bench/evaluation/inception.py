"""InceptionV3 of 2015-12-05, as published figures use it.

Source: Szegedy et al. 2015 (arXiv 1512.00567); the TensorFlow graph that Salimans et al. 2016 and
Heusel et al. 2017 took, ported to PyTorch by torch-fidelity, whose module does the arithmetic
here. Deviation: the weights are read by `torch.load(weights_only=True)` and their digest is
checked, while torch-fidelity unpickles whatever the file holds.
"""

from __future__ import annotations

import hashlib
import io
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_bench.errors import DataError, GanBenchError, WeightsError
from gan_bench.evaluation.features import chunks, full_float32
from gan_bench.files import file_digest, write_bytes

URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)
FILE_NAME = URL.rsplit("/", 1)[1]
PUBLISHED = "6726825d"
"""First digits of the SHA-256 of the published weights, as their file name gives them."""

# 299 x 299 activations of 32 images fill about half a gigabyte
_CHUNK = 32
_TIMEOUT = 30.0


class InceptionExtractor:
    """Features of the last pooling layer (2048) and the logits without bias (1008)."""

    name = "inception"
    feature_dim = 2048
    image_shape = None
    resize = "bilinear_tf1_299"
    precision = "float32"
    test_accuracy = None

    def __init__(
        self, weights_path: str | Path | None = None, *, device: str | torch.device = "cpu"
    ) -> None:
        """Load the network.

        Args:
            weights_path: The weights' file. None: torch's hub cache, where torch-fidelity keeps
                them; they are downloaded there if they are missing.
            device: Where it runs.

        Raises:
            WeightsError: The file is missing, corrupt or not what its name says, or it can't be
                downloaded.
        """
        path = _locate(weights_path)
        self.device = torch.device(device)
        self.digest, state = load_weights(path)
        self.suffix = "" if self.digest.startswith(PUBLISHED) else f"_inception_{self.digest[:8]}"
        self._network = _network(state, path).to(self.device)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Extract features (N, 2048) and logits (N, 1008), float32 on the CPU.

        Args:
            images: uint8 (N, C, H, W), C 1 or 3; grey images are tiled to three channels.

        Raises:
            DataError: The images have another number of channels.
        """
        if images.shape[1] not in (1, 3):
            raise DataError(f"Inception takes 1 or 3 channels, not {images.shape[1]}")
        features, logits = [], []
        with full_float32(self.device):
            for chunk in chunks(images, _CHUNK):
                colour = chunk.expand(-1, 3, -1, -1).to(self.device)
                first, second = self._network(colour)
                features.append(first.cpu())
                logits.append(second.cpu())
        return torch.cat(features), torch.cat(logits)


def load_weights(path: Path) -> tuple[str, dict[str, Any]]:
    """Read a weights file without running any code that it may hold.

    Returns:
        Its SHA-256 and its state dictionary.

    Raises:
        WeightsError: The file is missing, unreadable, or its digest isn't the one in its name.
    """
    if not path.is_file():
        raise WeightsError(f"Inception weights {path} are missing; {_how_to_get()}")
    digest = file_digest(path)
    claimed = re.search(r"-([0-9a-f]{8,64})\.pth$", path.name)
    if claimed and not digest.startswith(claimed[1]):
        raise WeightsError(
            f"Inception weights {path} are truncated or altered: SHA-256 {digest[:8]}, "
            f"{claimed[1]} expected; delete the file and run again, or {_how_to_get()}"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file can fail in any way: pickle, zip, end of file
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise WeightsError(
            f"Inception weights {path} can't be read ({reason}); {_how_to_get()}"
        ) from None
    if not isinstance(state, dict):
        raise WeightsError(f"Inception weights {path} hold no state dictionary; {_how_to_get()}")
    return digest, state


def _network(state: dict[str, Any], path: Path) -> nn.Module:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # the constructor unpickles what it is given: hand it bytes that were written here
    verified = io.BytesIO()
    torch.save(state, verified)
    verified.seek(0)
    # its layers draw initial weights from the global generator
    with torch.random.fork_rng(devices=[]):
        try:
            network: nn.Module = FeatureExtractorInceptionV3(
                "inception-v3-compat",
                ["2048", "logits_unbiased"],
                feature_extractor_weights_path=verified,
            )
        except (RuntimeError, AttributeError, TypeError):
            raise WeightsError(
                f"Inception weights {path} belong to another network; {_how_to_get()}"
            ) from None
    return network


def _locate(weights_path: str | Path | None) -> Path:
    if weights_path is not None:
        return Path(weights_path).expanduser()
    path = Path(torch.hub.get_dir()) / "checkpoints" / FILE_NAME
    if not path.exists():
        _download(path)
    return path


def _download(path: Path) -> None:
    try:
        with urllib.request.urlopen(URL, timeout=_TIMEOUT) as response:
            content = response.read()
    except (OSError, urllib.error.URLError) as error:
        reason = str(getattr(error, "reason", error)) or type(error).__name__
        raise WeightsError(
            f"Inception weights can't be downloaded ({reason}); {_how_to_get()}"
        ) from None
    if not hashlib.sha256(content).hexdigest().startswith(PUBLISHED):
        raise WeightsError(f"the Inception weights arrived damaged; {_how_to_get()}")
    try:
        write_bytes(path, content)
    except GanBenchError as error:
        raise WeightsError(f"Inception weights: {error}") from None


def _how_to_get() -> str:
    return f"get {URL} and give its path as evaluator.weights_path="
