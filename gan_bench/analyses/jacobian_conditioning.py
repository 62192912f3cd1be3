"""How evenly a generator stretches its latent space: the condition number of its metric tensor.

Odena et al. 2018, "Is Generator Conditioning Causally Related to GAN Performance?" (arXiv
1802.08768): at a latent z, M = J'J with J = dG/dz, and the figure is the logarithm of M's largest
over its smallest eigenvalue, averaged over latents. compare_gan computes it in
`metrics/jacobian_conditioning.py` for a batch of 64, of images in [0, 1]; the figure does not
depend on the images' scale.

Deviations: the generator and J are float64, and M's eigenvalues come from the singular values of
J, for in compare_gan's float32 a condition number ends at about 1e7. The latents at which M is
singular have no condition number; they are left out of the mean and counted, where compare_gan
averages whatever number the rounding errors give.
"""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from gan_bench.analyses.base import Analysis, AnalysisContext
from gan_bench.errors import DataError, require
from gan_bench.registry import ANALYSES


@ANALYSES.register(
    "jacobian_conditioning", source="Odena et al. 2018, arXiv 1802.08768; compare_gan"
)
class JacobianConditioning(Analysis):
    """Log condition number of the generator's metric tensor J'J."""

    def __init__(self, *, latents: int = 64) -> None:
        """Set it up; `latents` is the number of points at which the Jacobian is computed.

        Raises:
            ConfigError: There is none.
        """
        require(latents >= 1, f"jacobian_conditioning: latents is {latents}; use 1 or more")
        self.latents = latents

    def __call__(self, context: AnalysisContext) -> dict[str, Any]:
        """Return the mean, standard deviation and count of log(largest / smallest eigenvalue).

        Raises:
            DataError: The metric tensor is singular at every latent, or has to be, because there
                are more latent dimensions than pixels.
        """
        values = singular_values(context.generator, context.latents(self.latents))
        # the usual threshold of a numerical rank (numpy.linalg.matrix_rank)
        negligible = math.prod(context.dataset.image_shape) * torch.finfo(values.dtype).eps
        full_rank = values[:, -1] > negligible * values[:, 0]
        if not full_rank.any():
            raise DataError(
                f"the generator's metric tensor is singular at all {self.latents} latents: it "
                "ignores a direction of its latent space, so there is no condition number"
            )
        # an eigenvalue of J'J is the square of a singular value of J
        logs = 2 * (values[full_rank, 0].log() - values[full_rank, -1].log())
        return {
            "log_condition_number_mean": logs.mean().item(),
            "log_condition_number_std": logs.std(correction=0).item(),
            "log_condition_number_count": len(logs),
        }


def singular_values(generator: nn.Module, latents: Tensor) -> Tensor:
    """Return the singular values of the generator's Jacobian at each latent.

    Args:
        generator: Frozen, in evaluation mode: no latent of a batch acts on another's image.
        latents: (N, d).

    Returns:
        float64 (N, d) on the CPU, descending.

    Raises:
        DataError: The images have fewer than d numbers.
    """
    # a copy that can be differentiated forwards in double precision
    exact, points = copy.deepcopy(generator).double(), latents.double()
    size, dim = exact(points[:1]).numel(), points.shape[1]
    if size < dim:
        raise DataError(
            f"with {dim} latent dimensions and {size} pixels the metric tensor is singular; "
            f"jacobian_conditioning needs a run with latent.dim of {size} or less"
        )
    return torch.stack([torch.linalg.svdvals(_jacobian(exact, z).cpu()) for z in points])


def _jacobian(generator: nn.Module, latent: Tensor) -> Tensor:
    """Return dG/dz at a latent (d,) as (pixels, d).

    In forward mode, for there are at least as many pixels as d, and one latent at a time: the
    network carries d directions at once, which takes about the memory of a batch of d images.
    """
    with warnings.catch_warnings():  # of torch's own use of torch.jit, at the first call
        warnings.simplefilter("ignore", FutureWarning)
        derivative: Tensor = torch.func.jacfwd(generator)(latent[None])
    return derivative.reshape(-1, len(latent))
