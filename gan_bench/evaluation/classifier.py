"""A small convolutional classifier of a data set, as a feature extractor of that data set.

Inception says little about 8 x 8 digits, and its weights must be downloaded; a classifier of the
data set itself knows what matters in its images (as Borji 2018, arXiv 1802.03446, section 2.1.2,
recommends for images unlike ImageNet's). Its figures compare models on one data set only; their
keys carry its name.

Training is a function of the data and the recipe alone: own generators, one thread, one order of
arithmetic. So two processes that train at once write the same file.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from gan_bench.errors import ConfigError, DataError, StorageError
from gan_bench.evaluation.features import chunks, state_digest
from gan_bench.evaluation.identity import identify
from gan_bench.evaluation.sources import split_source
from gan_bench.files import cache_dir, computed_once, digest, write_bytes, write_json
from gan_bench.interfaces import Dataset, ImageSplit
from gan_bench.precision import full_float32

_LOG = logging.getLogger(__name__)

VERSION = 2
_CHUNK = 256


@dataclass(frozen=True)
class Recipe:
    """How the classifier is built and trained; part of the cache's key."""

    width: int = 32
    feature_dim: int = 64
    batch_size: int = 128
    learning_rate: float = 4e-3
    weight_decay: float = 0.1
    images_seen: int = 360_000
    min_epochs: int = 5
    max_epochs: int = 60
    seed: int = 0

    def epochs(self, images: int) -> int:
        """Return the number of passes over so many training images."""
        return min(self.max_epochs, max(self.min_epochs, round(self.images_seen / images)))


class SmallConvNet(nn.Module):
    """Convolutions and max-pooling down to at most 4 pixels, then two linear layers."""

    def __init__(self, shape: tuple[int, int, int], classes: int, recipe: Recipe) -> None:
        """Build it.

        Args:
            shape: (C, H, W) of the images.
            classes: Number of classes K.
            recipe: Widths.
        """
        super().__init__()
        channels, height, width = shape
        layers: list[nn.Module] = [*_block(channels, recipe.width)]
        planes = recipe.width
        while min(height, width) > 4:
            layers += [nn.MaxPool2d(2), *_block(planes, 2 * recipe.width)]
            planes, height, width = 2 * recipe.width, height // 2, width // 2
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.hidden = nn.Linear(planes * height * width, recipe.feature_dim, bias=False)
        # keeps all features alive and of one scale, which the kernel distance depends on
        self.norm = nn.BatchNorm1d(recipe.feature_dim)
        self.head = nn.Linear(recipe.feature_dim, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, d) and logits (N, K) of images (N, C, H, W) in [-1, 1]."""
        features = functional.relu(self.norm(self.hidden(self.body(images))))
        return features, self.head(features)


class ClassifierExtractor:
    """Penultimate activations and logits of a trained SmallConvNet."""

    resize = "none"
    precision = "float32"

    def __init__(
        self,
        network: SmallConvNet,
        dataset: str,
        image_shape: tuple[int, int, int],
        *,
        test_accuracy: float,
        device: str | torch.device = "cpu",
    ) -> None:
        """Wrap a trained network (on the CPU); `test_accuracy` is in [0, 1]."""
        self.name = f"classifier:{dataset}"
        self.suffix = f"_{dataset}_cnn"
        self.digest = state_digest(network.state_dict())
        self.feature_dim = network.head.in_features
        self.image_shape = image_shape
        self.test_accuracy = test_accuracy
        self.device = torch.device(device)
        self._network = network.eval().requires_grad_(False).to(self.device)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Extract features (N, d) and logits (N, K), float32.

        Args:
            images: uint8, or float32 from 0 to 255 (N, C, H, W) of the data set's shape.

        Raises:
            DataError: The images have another shape than the data set's.
        """
        if tuple(images.shape[1:]) != self.image_shape:
            raise DataError(
                f"{self.name} takes images of {self.image_shape}, not {tuple(images.shape[1:])}"
            )
        features, logits = [], []
        with full_float32(self.device):
            for chunk in chunks(images, _CHUNK):
                first, second = self._network(_scale(chunk.to(self.device)))
                features.append(first)
                logits.append(second)
        return torch.cat(features), torch.cat(logits)


def build_classifier(
    dataset: Dataset,
    name: str,
    *,
    device: str | torch.device = "cpu",
    recipe: Recipe | None = None,
) -> ClassifierExtractor:
    """Return the classifier of a data set: from the cache, or trained and then cached.

    Args:
        dataset: A data set with labels; trained on its "train" split, scored on "test".
        name: What the extractor calls it.
        device: Where it extracts. Training is on the CPU, so that it's the same everywhere.
        recipe: Another recipe than the default, which is another cache entry.

    Raises:
        ConfigError: The data set has no labels or its images are smaller than 8 pixels.
    """
    recipe = recipe or Recipe()
    if dataset.num_classes is None:
        raise ConfigError(
            f"extractor classifier:{name} needs labels, and data set {name} has none; "
            "choose extractor=inception or the classifier of a labelled set"
        )
    if min(dataset.image_shape[1:]) < 8:
        raise ConfigError(
            f"extractor classifier:{name} needs images of 8 pixels or more, not "
            f"{dataset.image_shape[1]} x {dataset.image_shape[2]}"
        )
    key = digest(
        {
            "version": VERSION,
            "recipe": asdict(recipe),
            "shape": dataset.image_shape,
            "classes": dataset.num_classes,
            # a split's digest covers its labels
            "train": identify(split_source(dataset, "train")).digest,
            "test": identify(split_source(dataset, "test")).digest,
        }
    )
    folder = cache_dir() / "extractors" / key
    path = folder / "classifier.pt"
    # the layers draw initial weights from the global generator, which is the caller's
    with torch.random.fork_rng(devices=[]):
        network = SmallConvNet(dataset.image_shape, dataset.num_classes, recipe)
    accuracy = _load(path, network)
    if accuracy is None:
        with computed_once(path):  # of processes that start together, one trains
            accuracy = _load(path, network)
            if accuracy is None:
                accuracy = _train(network, dataset, recipe, name, folder)
    return ClassifierExtractor(
        network, name, dataset.image_shape, test_accuracy=accuracy, device=device
    )


def _train(
    network: SmallConvNet, dataset: Dataset, recipe: Recipe, name: str, folder: Path
) -> float:
    """Train a classifier, keep it in a folder and return its test accuracy."""
    _LOG.info("training the classifier of %s, once; it is kept in %s", name, folder)
    fit(network, dataset.split("train"), recipe)
    accuracy = score(network, dataset.split("test"))
    _LOG.info("classifier of %s: test accuracy %.1f%%", name, 100 * accuracy)
    _save(folder, network, accuracy, name)
    return accuracy


def fit(network: SmallConvNet, train: ImageSplit, recipe: Recipe) -> None:
    """Train a network in place: AdamW, a one-cycle learning rate, shifts by a pixel or two.

    Neither the global random state nor the number of threads is changed for the caller.
    """
    labels = train.labels
    assert labels is not None
    generator = torch.Generator().manual_seed(recipe.seed)
    _initialize(network, generator)
    epochs = recipe.epochs(len(train))
    steps = epochs * math.ceil(len(train) / recipe.batch_size)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, steps)
    network.train()
    with _reproducible():
        for _ in range(epochs):
            order = torch.randperm(len(train), generator=generator)
            for chosen in chunks(order, recipe.batch_size):
                if len(chosen) < 2:  # batch normalization has no variance of one image
                    continue
                images = _shift(_scale(train.images(chosen)), generator)
                loss = functional.cross_entropy(network(images)[1], labels[chosen])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
    network.eval()


@torch.no_grad()
def score(network: SmallConvNet, split: ImageSplit) -> float:
    """Return the share of a labelled split that a network (on the CPU) classifies rightly."""
    assert split.labels is not None
    network.eval()
    right = 0
    for chosen in chunks(torch.arange(len(split)), _CHUNK):
        guess = network(_scale(split.images(chosen)))[1].argmax(1)
        right += int((guess == split.labels[chosen]).sum())
    return right / len(split)


def _block(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return (
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _initialize(network: nn.Module, generator: torch.Generator) -> None:
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.reset_parameters()
            module.reset_running_stats()


def _scale(images: Tensor) -> Tensor:
    return images.to(torch.float32) / 127.5 - 1.0


def _shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to 1 pixel (2 from 16 pixels on), repeating its edge."""
    count, _, height, width = images.shape
    reach = 1 if min(height, width) < 16 else 2
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    offsets = torch.randint(0, 2 * reach + 1, (2, count, 1), generator=generator)
    rows = (offsets[0] + torch.arange(height))[:, :, None]
    columns = (offsets[1] + torch.arange(width))[:, None, :]
    return padded[torch.arange(count)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)


@contextlib.contextmanager
def _reproducible() -> Iterator[None]:
    """One thread (sums don't depend on how work is shared out) and plain float32."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.enable_grad(), full_float32(torch.device("cpu")):
            yield
    finally:
        torch.set_num_threads(threads)


def _save(folder: Path, network: SmallConvNet, accuracy: float, name: str) -> None:
    state = network.state_dict()
    meta = {"dataset": name, "test_accuracy": accuracy, "digest": state_digest(state)}
    buffer = io.BytesIO()  # torch.save's own writer turns a full disk into a fault of its own
    torch.save({"state": state, **meta}, buffer)
    try:
        write_bytes(folder / "classifier.pt", buffer.getvalue())
        write_json(folder / "meta.json", meta)
    except StorageError as error:
        warnings.warn(f"the trained classifier is not kept: {error}", stacklevel=2)


def _load(path: Path, network: SmallConvNet) -> float | None:
    """Load cached weights into a network; return the test accuracy, or None to train anew."""
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if state_digest(content["state"]) != content["digest"]:
            raise ValueError("its digest is not the one it was written with")
        network.load_state_dict(content["state"])
        return float(content["test_accuracy"])
    except Exception as error:  # a damaged file can fail in any way: pickle, zip, end of file
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        warnings.warn(
            f"cached classifier {path} is damaged ({reason}) and is trained anew", stacklevel=2
        )
        return None
