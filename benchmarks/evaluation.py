"""The evaluator beside other libraries, on the same data: `python -m benchmarks.evaluation`.

Prints ratios (times faster than the other), the extractor's share of the machine's matrix rate,
and peak memory. Parts can be chosen: `python -m benchmarks.evaluation fid inception memory`.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from benchmarks import feature_metrics, ms_ssim
from benchmarks.timing import Comparison, compare, seconds
from gan_bench.evaluation import Evaluator
from gan_bench.evaluation.frechet import Gaussian, frechet_distance
from gan_bench.evaluation.inception import InceptionExtractor
from gan_bench.evaluation.moments import Moments
from gan_bench.precision import full_float32

_BATCH = 256
_INCEPTION_IMAGES = 64
_SECOND_IMAGES = 128


def features(n: int, dim: int, seed: int) -> Tensor:
    """Return skewed, correlated, non-negative features, as pooled activations are."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(dim, dim, generator=torch.Generator().manual_seed(9)) / dim**0.5
    return torch.relu(torch.randn(n, dim, generator=generator) @ mix + 0.1 * seed)


def fid() -> Iterator[Comparison]:
    """Time the statistics stage: generated features in, FID out, the reference known."""
    for dim in (2048, 256, 128, 64):
        real = features(12_000, dim, 0)
        moments = Moments()
        moments.update(real)
        ours_reference = Gaussian.of(moments).factored()
        their_reference = fid_features_to_statistics(real)
        for n in (1_000, 10_000, 50_000):
            fake = features(n, dim, 1)

            def ours(fake: Tensor = fake, reference: Gaussian = ours_reference) -> float:
                moments = Moments()
                for start in range(0, len(fake), _BATCH):
                    moments.update(fake[start : start + _BATCH])
                return frechet_distance(reference, Gaussian.of(moments))

            def theirs(fake: Tensor = fake, reference: dict = their_reference) -> float:
                found = fid_statistics_to_metric(
                    fid_features_to_statistics(fake), reference, verbose=False
                )
                return found["frechet_inception_distance"]

            error = abs(ours() - theirs()) / theirs()
            what = f"FID statistics, d={dim}, N={n}, difference {error:.0e}"
            yield compare(what, ours, "torch-fidelity", theirs, repeats=3)


def random_weights(folder: Path) -> Path:
    """Save Inception with random weights, as the published ones are saved."""
    path = folder / "random.pth"
    original = FeatureExtractorInceptionV3.load_state_dict
    try:
        FeatureExtractorInceptionV3.load_state_dict = lambda self, state: None
        import torch_fidelity.feature_extractor_inceptionv3 as module

        module.load_state_dict_from_url = lambda *args, **options: {}
        torch.manual_seed(0)
        network = FeatureExtractorInceptionV3("any", ["2048"])
    finally:
        FeatureExtractorInceptionV3.load_state_dict = original
    torch.save(network.state_dict(), path)
    return path


def images(n: int, seed: int) -> Tensor:
    """Return uint8 noise of CIFAR-10's size."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, 32, 32), generator=generator, dtype=torch.uint8)


def inception() -> Iterator[Comparison]:
    """Time the network alone, float32, on random weights, and print its matrix rate."""
    with tempfile.TemporaryDirectory() as folder:
        weights = random_weights(Path(folder))
        extractor = InceptionExtractor(weights)
        oracle = FeatureExtractorInceptionV3(
            "inception-v3-compat",
            ["2048", "logits_unbiased"],
            feature_extractor_weights_path=str(weights),
        )
        pixels = images(_INCEPTION_IMAGES, 0)
        with torch.no_grad():
            error = (extractor(pixels)[0] - oracle(pixels)[0]).abs().max() / oracle(pixels)[0].max()
            name = f"Inception, {len(pixels)} images, features off by {float(error):.0e}"
            found = compare(
                name,
                lambda: extractor(pixels),
                "torch-fidelity",
                lambda: oracle(pixels),
                repeats=3,
            )
            half = InceptionExtractor(weights, precision="bf16")
            half(pixels)
            bf16 = seconds(lambda: half(pixels))
            with FlopCounterMode(display=False) as counter:
                extractor(pixels[:1])
        yield found
        yield second_evaluation(weights)
    rate = counter.get_total_flops() * len(pixels) / found.ours / 1e9
    print(
        f"    {len(pixels) / found.ours:.1f} images/s against {len(pixels) / found.theirs:.1f}; "
        f"bf16 {len(pixels) / bf16:.1f}; {rate:.0f} of {matrix_rate():.0f} GFLOP/s "
        "(float32 matrix product)"
    )


def matrix_rate(side: int = 4096) -> float:
    """Return the GFLOP/s of a large float32 matrix product."""
    a = torch.rand(side, side)
    with full_float32(torch.device("cpu")):
        best = min(seconds(lambda: a @ a) for _ in range(4))
    return 2 * side**3 / best / 1e9


class Plain(torch.utils.data.Dataset[Tensor]):
    """Images one by one, as torch-fidelity takes them."""

    def __init__(self, pixels: Tensor) -> None:
        """Hold uint8 (N, C, H, W)."""
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        """Return one image."""
        return self.pixels[index]


def second_evaluation(weights: Path) -> Comparison:
    """Time a whole FID evaluation where the reference has been evaluated against before."""
    real, fake = images(_SECOND_IMAGES, 1), images(_SECOND_IMAGES, 2)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["GAN_BENCH_CACHE"] = cache

        def ours() -> None:
            Evaluator(real, metrics=["fid"], weights_path=weights).run(fake)

        def theirs() -> None:
            calculate_metrics(
                input1=Plain(fake),
                input2=Plain(real),
                fid=True,
                cuda=False,
                cache=False,
                verbose=False,
                feature_extractor_weights_path=str(weights),
            )

        what = f"second evaluation of {_SECOND_IMAGES} images, the network included"
        return compare(what, ours, "torch-fidelity", theirs, repeats=1)


_MEMORY = """
import resource, sys, torch
from gan_bench.evaluation import evaluate

class Projection:
    name, suffix, digest, resize, precision = "p", "_p", "0", "none", "float32"
    feature_dim, image_shape, test_accuracy = 2048, None, None
    weights = torch.randn(3 * 32 * 32, 2048, generator=torch.Generator().manual_seed(0)) / 4096

    def __call__(self, images):
        return images.flatten(1).float() @ self.weights, torch.zeros(len(images), 1)

def sampler(n):
    return torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8)

evaluate(sampler, sampler(3000), metrics=["fid"], extractor=Projection(), cache=False,
         n_generated=int(sys.argv[1]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def memory() -> Iterator[Comparison]:
    """Print the peak memory of FID alone at 10k and 200k images, each in a process of its own."""
    for n in (10_000, 200_000):
        run = subprocess.run(
            [sys.executable, "-c", _MEMORY, str(n)], capture_output=True, text=True, check=True
        )
        print(f"    peak memory of FID alone, d=2048, N={n}: {run.stdout.strip()} MiB")
    yield from ()


PARTS: dict[str, Callable[[], Iterator[Comparison]]] = {
    "fid": fid,
    "inception": inception,
    "features": feature_metrics.measure,
    "ms_ssim": ms_ssim.measure,
    "memory": memory,
}


def main(chosen: list[str]) -> None:
    """Run the chosen parts, or all."""
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}; "
        "median seconds, ours first"
    )
    for name in chosen or PARTS:
        for found in PARTS[name]():
            print(found, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
