"""Pairs of a generator and a discriminator."""

from gan_bench.architectures import dcgan, infogan, mlp, resnet, sndcgan

__all__ = ["dcgan", "infogan", "mlp", "resnet", "sndcgan"]
