"""The fields of a run's config, their types and defaults."""

from __future__ import annotations

import dataclasses
from typing import Any

from omegaconf import MISSING

SCHEMA = 1


@dataclasses.dataclass
class LatentConfig:
    """What G draws from."""

    dim: int = 128
    distribution: str = "uniform"
    """uniform: U[-1, 1]; normal: N(0, 1)."""


@dataclasses.dataclass
class OptimizerConfig:
    """Adam for G and D."""

    lr: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    discriminator_lr: float | None = None
    """D's learning rate where it differs from G's."""


@dataclasses.dataclass
class TrainingConfig:
    """How long and how. Steps are G steps; each has n_disc D steps before it."""

    steps: int | None = None
    """G steps (1000 when neither steps nor d_steps is given)."""
    d_steps: int | None = None
    """The length in D steps instead, as compare_gan v2 counts: steps = ceil(d_steps / n_disc)."""
    batch_size: int = 64
    accumulate: int = 1
    """Equal parts of a batch, passed one by one to save memory; batch norm sees a part."""
    images: int | None = None
    """Training images that are used, a fixed random choice; None: all."""
    n_disc: int = 1
    ema_decay: float | None = None
    """Decay of the moving average of G's weights that is evaluated; None: no average."""
    precision: str = "float32"
    """float32 (also on GPUs, whose convolutions would else be TF32); tf32 (GPUs: faster, 10 bits of
    mantissa); bf16 (autocast around the networks; losses and optimizers stay float32)."""
    channels_last: bool = True
    """Whether images and kernels lie in memory with the channels last, for which kernels are
    faster."""
    log_every: int = 50
    checkpoint_every: int = 500
    sample_every: int = 0
    """Steps between sample grids; 0: at the start and the end only."""
    evaluate_every: int = 0
    """Steps between evaluations; 0: at the end only."""
    workers: int = 2
    """Loader processes of data sets that do not fit in memory."""

    @property
    def g_steps(self) -> int:
        """The length in G steps."""
        if self.d_steps is not None:
            return -(-self.d_steps // self.n_disc)
        return 1000 if self.steps is None else self.steps


@dataclasses.dataclass
class EvaluatorConfig:
    """What is measured on a generator, and against what."""

    extractor: str = "inception"
    """inception, classifier:NAME (trained on the labels of data set NAME), dinov2 or clip."""
    metrics: list[Any] = dataclasses.field(
        default_factory=lambda: ["fid", "inception_score", "kid", "precision_recall", "ms_ssim"]
    )
    """Names, or mappings with a name and options."""
    split: str = "test"
    n_real: int | None = None
    """Real images; None: the whole split."""
    n_fake: int = 10_000
    sets: int = 1
    """Sample sets of n_fake images each; with several, a figure is their mean."""
    quantize: bool = True
    """Whether generated images are rounded to uint8, as files are; compare_gan doesn't."""
    discriminator_accuracy: bool = False
    """Whether D's accuracy on training, held-out and generated images is measured too."""
    batch_size: int = 256
    seed: int = 0
    """Seed of the evaluated latents and of the metrics' own draws."""
    weights_path: str | None = None
    """The extractor's weights, where the library's own download is not to be used."""


@dataclasses.dataclass
class Config:
    """All that decides a run's result, and where it runs."""

    schema: int = SCHEMA
    dataset: Any = MISSING
    architecture: Any = MISSING
    loss: Any = MISSING
    regularizer: Any = MISSING
    normalizer: Any = MISSING
    latent: LatentConfig = dataclasses.field(default_factory=LatentConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    evaluator: EvaluatorConfig = dataclasses.field(default_factory=EvaluatorConfig)
    seed: int = 0
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda or cuda:N."""
    threads: int | None = None
    """CPU threads; None: as many as torch chooses. Small networks are fastest with one."""
    run_dir: str | None = None
    """Where the run is kept; None: results/runs/<names>-<digest of the config>."""
    trackers: list[Any] = dataclasses.field(default_factory=list)
    """tensorboard, wandb or mlflow: names, or mappings with a name and options."""
    plugins: list[str] = dataclasses.field(default_factory=list)
    """Python files to import first; they register losses and other parts of your own."""


LATER_FIELDS = {"images": None, "accumulate": 1}
"""Fields of training that earlier versions did not have, with what they then did."""
_RUNTIME_FIELDS = (
    "device",
    "threads",
    "run_dir",
    "plugins",
    "trackers",
    "training.log_every",
    "training.checkpoint_every",
    "training.sample_every",
    "training.workers",
    "evaluator.batch_size",
    "evaluator.weights_path",
    "dataset.download",
    "dataset.in_memory_limit_mb",
)


def runtime_fields(dataset: str) -> tuple[str, ...]:
    """Return the fields that say where and how a run is executed and don't change its result.

    `dataset.root` is one of them where the set's name fixes its content.
    """
    return _RUNTIME_FIELDS if dataset == "image_files" else (*_RUNTIME_FIELDS, "dataset.root")
