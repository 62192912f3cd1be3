"""GAN losses, as functions of D's logits; a logit is the argument of the logistic function.

Formulas as in compare_gan (the code of arXiv 1807.04720); each returns a scalar, the batch mean.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import relu, softplus

from gan_bench.errors import require, unknown
from gan_bench.registry import LOSSES


class _CrossEntropy:
    """D's side of the original GAN: the cross-entropy of real against generated."""

    boundary: float | None = 0.0

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """E softplus(-D(x)) + E softplus(D(G(z))); 2 ln 2 where D = 1/2 everywhere."""
        return softplus(-real_logits).mean() + softplus(fake_logits).mean()


@LOSSES.register("non_saturating", aliases=("ns",), source="arXiv 1406.2661, section 3")
class NonSaturating(_CrossEntropy):
    """The original GAN's loss with the generator that maximizes log D(G(z))."""

    def generator(self, fake_logits: Tensor) -> Tensor:
        """E softplus(-D(G(z)))."""
        return softplus(-fake_logits).mean()


@LOSSES.register("minimax", aliases=("mm",), source="arXiv 1406.2661, eq. 1")
class Minimax(_CrossEntropy):
    """The original GAN's zero-sum loss: the generator minimizes log(1 - D(G(z)))."""

    def generator(self, fake_logits: Tensor) -> Tensor:
        """-E softplus(D(G(z)))."""
        return -softplus(fake_logits).mean()


@LOSSES.register("least_squares", aliases=("ls", "lsgan"), source="arXiv 1611.04076, eq. 9")
class LeastSquares:
    """Squared distance of D's output to 1 (real) and 0 (generated)."""

    def __init__(self, *, on: str = "logits") -> None:
        """Choose what is squared.

        Args:
            on: "logits", as in the LSGAN paper, or "probabilities" (the logistic function of the
                logits), as in compare_gan: use that to reproduce its figures.

        Raises:
            ConfigError: Another value.
        """
        if on not in ("logits", "probabilities"):
            raise unknown("loss.on", on, ("logits", "probabilities"))
        self._on_probabilities = on == "probabilities"
        self.boundary: float | None = 0.0 if self._on_probabilities else 0.5

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """0.5 (E (D(x) - 1)^2 + E D(G(z))^2)."""
        real, fake = self._output(real_logits), self._output(fake_logits)
        return 0.5 * ((real - 1).square().mean() + fake.square().mean())

    def generator(self, fake_logits: Tensor) -> Tensor:
        """0.5 E (D(G(z)) - 1)^2."""
        return 0.5 * (self._output(fake_logits) - 1).square().mean()

    def _output(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() if self._on_probabilities else logits


@LOSSES.register("wasserstein", aliases=("wgan",), source="arXiv 1701.07875, eq. 2")
class Wasserstein:
    """Difference of the mean logits; D must be kept Lipschitz by a regularizer or normalizer."""

    boundary: float | None = None

    def __init__(self, *, drift: float = 0.0) -> None:
        """Set the weight of the term that keeps D's output near zero.

        Args:
            drift: Weight of E D(x)^2 (0.001 in progressive GAN, arXiv 1710.10196, app. A.1).

        Raises:
            ConfigError: It is negative.
        """
        require(drift >= 0, f"loss.drift is {drift}; it can't be negative")
        self._drift = drift

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """-E D(x) + E D(G(z)), plus the drift term where it is asked for."""
        loss = fake_logits.mean() - real_logits.mean()
        return loss + self._drift * real_logits.square().mean() if self._drift else loss

    def generator(self, fake_logits: Tensor) -> Tensor:
        """-E D(G(z))."""
        return -fake_logits.mean()


@LOSSES.register("hinge", source="arXiv 1705.02894; arXiv 1802.05957, eq. 16 and 17")
class Hinge:
    """Hinge loss for D, the negated mean logit for G."""

    boundary: float | None = 0.0

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """E relu(1 - D(x)) + E relu(1 + D(G(z)))."""
        return relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()

    def generator(self, fake_logits: Tensor) -> Tensor:
        """-E D(G(z))."""
        return -fake_logits.mean()
