"""Pairs of a generator and a discriminator.

Every builder takes

- `image_shape`: (C, H, W); C is 1 or 3 and H = W in all but `mlp`, which also takes vectors (D,);
- `latent_dim`: the size of z, at least 1;
- `normalizer`: D's, by name or as an object;
- `num_classes`: None, for none of them is conditional yet;
- `width`: the factor of all channels, above 0; 1 is the published network;

and returns (generator, discriminator): `generator(z)` maps (N, latent_dim) to images (N, C, H, W)
in [-1, 1], `discriminator(images)` maps them to logits (N,). What can't be served, and values out
of range, raise a ConfigError that says what can.
"""

from gan_bench.architectures import dcgan, infogan, mlp, resnet, sndcgan

__all__ = ["dcgan", "infogan", "mlp", "resnet", "sndcgan"]
