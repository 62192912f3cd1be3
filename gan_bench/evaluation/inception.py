"""InceptionV3 of 2015-12-05, as published figures use it.

Source: Szegedy et al. 2015 (arXiv 1512.00567); the TensorFlow graph that Salimans et al. 2016 and
Heusel et al. 2017 took, ported to PyTorch by torch-fidelity, whose layers are used here, with
batch normalization folded into the convolutions and the channels last: over twice as fast on a CPU,
and features equal to within 1e-6. Deviation: the weights are read by
`torch.load(weights_only=True)` and their digest is checked, while torch-fidelity unpickles
whatever the file holds.

"inception:bf16" is the same in bfloat16, again twice as fast, with features off by about 1%. What
that does to FID has not been measured with the published weights, so its keys carry its name.
"""

from __future__ import annotations

import functools
import hashlib
import io
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gan_bench.errors import DataError, GanBenchError, WeightsError
from gan_bench.evaluation.features import chunks
from gan_bench.files import file_digest, write_bytes
from gan_bench.precision import full_float32

URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)
FILE_NAME = URL.rsplit("/", 1)[1]
PUBLISHED = "6726825d"
"""First digits of the SHA-256 of the published weights, as their file name gives them."""

# as many images as keep a CPU's caches warm; a GPU wants more work at a time
_CHUNK = {"cpu": 8}
_CHUNK_ELSEWHERE = 128
_SIDE = 299
_STAGES = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_1"),
    *("Conv2d_3b_1x1", "Conv2d_4a_3x3", "MaxPool_2", "Mixed_5b", "Mixed_5c", "Mixed_5d"),
    *("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c", "AvgPool"),
)
_TIMEOUT = 30.0


class InceptionExtractor:
    """Features of the last pooling layer (2048) and the logits without bias (1008)."""

    feature_dim = 2048
    image_shape = None
    resize = "bilinear_tf1_299"
    test_accuracy = None

    def __init__(
        self,
        weights_path: str | Path | None = None,
        *,
        device: str | torch.device = "cpu",
        precision: str = "float32",
    ) -> None:
        """Load the network.

        Args:
            weights_path: The weights' file. None: torch's hub cache, where torch-fidelity keeps
                them; they are downloaded there if they are missing.
            device: Where it runs.
            precision: "float32", or "bf16" for another extractor, of another name.

        Raises:
            WeightsError: The file is missing, corrupt or not what its name says, or it can't be
                downloaded.
        """
        path = _locate(weights_path)
        self.device = torch.device(device)
        self.digest, state = load_weights(path)
        self.precision = precision
        self.name = "inception" if precision == "float32" else f"inception:{precision}"
        self.suffix = _suffix(self.digest, precision)
        self._network = FoldedInception(_network(state, path)).to(self.device)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Extract features (N, 2048) and logits (N, 1008), float32.

        Args:
            images: uint8, or float32 from 0 to 255 (N, C, H, W), C 1 or 3; grey images are tiled
                to three channels.

        Raises:
            DataError: The images have another number of channels.
        """
        if images.shape[1] not in (1, 3):
            raise DataError(f"Inception takes 1 or 3 channels, not {images.shape[1]}")
        features, logits = [], []
        arithmetic = (
            full_float32(self.device)
            if self.precision == "float32"
            else torch.autocast(self.device.type, torch.bfloat16)
        )
        with arithmetic:
            for chunk in chunks(images, _CHUNK.get(self.device.type, _CHUNK_ELSEWHERE)):
                first, second = self._network(chunk.to(self.device).expand(-1, 3, -1, -1))
                features.append(first.float())
                logits.append(second.float())
        return torch.cat(features), torch.cat(logits)


class FoldedInception(nn.Module):
    """torch-fidelity's network as it is fastest: folded, channels last, one layer's features."""

    def __init__(self, network: nn.Module) -> None:
        """Take a network in evaluation mode; its convolutions are changed in place."""
        super().__init__()
        for module in network.modules():
            convolution, norm = getattr(module, "conv", None), getattr(module, "bn", None)
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module.conv = fuse_conv_bn_eval(convolution, norm)
                module.bn = nn.Identity()
        self.stages = nn.Sequential(*(getattr(network, name) for name in _STAGES))
        self.stages.to(memory_format=torch.channels_last)
        self.head = network.get_parameter("fc.weight")
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, 2048) and logits (N, 1008) of images (N, 3, H, W), 0 to 255."""
        images = (images.to(torch.float32) - 128.0) / 128.0
        rows = _resize_matrix(images.shape[2], images.device)
        columns = _resize_matrix(images.shape[3], images.device)
        with torch.autocast(images.device.type, enabled=False):
            images = rows @ images @ columns.T
        features = self.stages(images.contiguous(memory_format=torch.channels_last)).flatten(1)
        return features, functional.linear(features, self.head)


@functools.lru_cache(maxsize=8)
def _resize_matrix(side: int, device: torch.device) -> Tensor:
    """Return the matrix (299, side) of TensorFlow 1's bilinear resize, corners not aligned.

    Output pixel i is interpolated at i * side / 299: without PyTorch's half-pixel shift.
    """
    place = torch.arange(_SIDE, dtype=torch.float32) * (side / _SIDE)
    low = place.floor().long()
    high = (low + 1).clamp(max=side - 1)
    weight = place - low
    matrix = torch.zeros(_SIDE, side)
    matrix.scatter_add_(1, low[:, None], 1.0 - weight[:, None])
    matrix.scatter_add_(1, high[:, None], weight[:, None])
    return matrix.to(device)


def _suffix(digest: str, precision: str) -> str:
    parts = [] if precision == "float32" else [precision]
    if not digest.startswith(PUBLISHED):
        parts.append(digest[:8])
    return "_".join(["_inception", *parts]) if parts else ""


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
