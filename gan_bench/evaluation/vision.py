"""Features of large self-supervised networks, which follow human judgement better than Inception's.

DINOv2 ViT-L/14 (Oquab et al. 2023, arXiv 2304.07193), as Stein et al. 2023 (arXiv 2306.04675)
take it for FD-DINOv2: the class token of 224-pixel images, for which the position embedding of
518 pixels is interpolated as the authors' code does, and not as timm would. CLIP ViT-L/14 (Radford
et al. 2021, arXiv 2103.00020), as Kynkäänniemi et al. 2023 (arXiv 2203.06026) recommend: the
embedding that it shares with text. Both come from timm, which also reads the authors' own weight
files.

Images are resized by an antialiased bicubic filter, which is PIL's to a grey level; grey images are
tiled to three channels. There are no class scores.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gan_bench.errors import ConfigError, DataError, WeightsError
from gan_bench.evaluation.features import chunks, state_digest
from gan_bench.precision import full_float32

_SIDE = 224
_CHUNK = {"cpu": 8}
_CHUNK_ELSEWHERE = 64


@dataclass(frozen=True)
class VisionModel:
    """A network of timm and what its images must be."""

    model: str
    """timm's name, with the tag of its weights."""
    mean: tuple[float, float, float]
    """Of the pixels in [0, 1], as in training."""
    std: tuple[float, float, float]
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of timm.create_model."""


MODELS = {
    "dinov2": VisionModel(
        "vit_large_patch14_dinov2.lvd142m",
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        {"num_classes": 0},
    ),
    "clip": VisionModel(
        "vit_large_patch14_clip_quickgelu_224.openai",
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
    ),
}


class VisionExtractor:
    """Embeddings of a network in MODELS; logits are empty."""

    image_shape = None
    resize = f"bicubic_antialias_{_SIDE}"
    precision = "float32"
    test_accuracy = None
    gives_scores = False

    def __init__(
        self,
        name: str,
        weights_path: str | Path | None = None,
        *,
        device: str | torch.device = "cpu",
    ) -> None:
        """Load the network.

        Args:
            name: One of MODELS.
            weights_path: A .safetensors file, or a .pth that holds tensors only, of timm or of the
                authors. None: timm's download, which is kept in its cache.
            device: Where it runs.

        Raises:
            ConfigError: timm is not installed.
            WeightsError: The file is missing, corrupt or of another network, or it can't be
                downloaded.
        """
        spec = MODELS[name]
        self.name = name
        self.suffix = f"_{name}"
        self.device = torch.device(device)
        network = _load(name, spec, None if weights_path is None else Path(weights_path))
        # of the tensors as they were published, whatever file they came in
        self.digest = state_digest(network.state_dict())
        _fit_to_side(network)
        self._network = network.eval().requires_grad_(False).to(self.device)
        self._mean = torch.tensor(spec.mean, device=self.device)[:, None, None]
        self._std = torch.tensor(spec.std, device=self.device)[:, None, None]
        self.feature_dim = self(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))[0].shape[1]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Extract features (N, d), float32, and no logits (N, 0).

        Args:
            images: uint8, or float32 from 0 to 255 (N, C, H, W), C 1 or 3.

        Raises:
            DataError: The images have another number of channels.
        """
        if images.shape[1] not in (1, 3):
            raise DataError(f"{self.name} takes 1 or 3 channels, not {images.shape[1]}")
        features = []
        with full_float32(self.device):
            for chunk in chunks(images, _CHUNK.get(self.device.type, _CHUNK_ELSEWHERE)):
                pixels = resized(chunk.to(self.device).expand(-1, 3, -1, -1)) / 255.0
                features.append(self._network((pixels - self._mean) / self._std))
        found = torch.cat(features)
        return found, found.new_zeros(len(found), 0)


def resized(images: Tensor) -> Tensor:
    """Return images (N, C, H, W), 0 to 255, at 224 x 224, rounded to whole grey levels, float32."""
    # rows and columns apart, as PIL does: each pass is rounded to what a byte holds
    for size in ((images.shape[2], _SIDE), (_SIDE, _SIDE)):
        images = functional.interpolate(
            images.float(), size, mode="bicubic", antialias=True, align_corners=False
        )
        images = images.clamp(0.0, 255.0).round()
    return images


def _load(name: str, spec: VisionModel, path: Path | None) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise ConfigError(
            f"extractor {name} needs timm: pip install 'gan-bench[extractors]'"
        ) from None
    if path is not None and not path.expanduser().is_file():
        raise WeightsError(f"weights {path} of {name} are missing; {_how_to_get(spec)}")
    # its layers draw initial weights from the global generator
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # the hub logs each failed request; what it comes to is said below
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            network: nn.Module = timm.create_model(
                spec.model, pretrained=path is None, **spec.options
            )
            if path is not None:
                # unlike create_model, this refuses a file that doesn't fit
                timm.models.load_checkpoint(
                    network,
                    str(path.expanduser()),
                    filter_fn=timm.models.vision_transformer.checkpoint_filter_fn,
                )
        except Exception as error:  # a foreign file, or a hub, can fail in any way
            reason = " ".join(str(error).split())[:150] or type(error).__name__
            where = f"weights {path} of {name} can't be used" if path else f"{name}: no weights"
            raise WeightsError(f"{where} ({reason}); {_how_to_get(spec)}") from None
        finally:
            logging.disable(before)
    return network


def _fit_to_side(network: Any) -> None:
    """Make a transformer of timm take 224 pixels, in place, as DINOv2's own code does.

    That is bicubic without antialiasing, scaled by (new + 0.1) / old, which is not quite the ratio
    of the grids; timm's antialiased filter gives other features.
    """
    before, embedding = network.patch_embed.grid_size, network.pos_embed.detach()
    network.set_input_size((_SIDE, _SIDE))
    after = network.patch_embed.grid_size
    if after == before:
        return
    tokens = network.num_prefix_tokens
    places = embedding[:, tokens:].unflatten(1, before).permute(0, 3, 1, 2)
    scale = [(new + 0.1) / old for new, old in zip(after, before, strict=True)]
    places = functional.interpolate(places, scale_factor=scale, mode="bicubic")
    places = places.permute(0, 2, 3, 1).flatten(1, 2)
    network.pos_embed = nn.Parameter(torch.cat([embedding[:, :tokens], places], 1))


def _how_to_get(spec: VisionModel) -> str:
    import timm

    # not the model's name: CLIP's repository is that of another activation
    config: Any = timm.get_pretrained_cfg(spec.model)
    return (
        f"get model.safetensors of {config.hf_hub_id} from the Hugging Face hub and give its path "
        "as evaluator.weights_path="
    )
