"""Latents and the small network that decodes them: a non-linear autoencoder without its encoder."""

from typing import Any

import torch
from torch import Tensor, nn

from .base import CompressedMatrix

LEAK = 0.01
"""Slope of LeakyReLU below 0."""


class MLPDecoder(CompressedMatrix):
    """Latents (V, x), linear layers x -> widths -> d with LeakyReLU between and tanh after, and the rows' norms (V,).

    Where norms are kept, the decoded row is scaled to the original row's norm.
    """

    format = "mlp_decoder"

    def __init__(
        self, shape: tuple[int, int], latent: int, widths: list[int], norms: bool = True, dtype: str = "float32"
    ) -> None:
        super().__init__(shape)
        self.latent_size, self.widths, self.dtype_name = latent, list(widths), dtype
        kind = getattr(torch, dtype)
        sizes = [latent, *widths, shape[1]]
        self.latents: Tensor
        self.norms: Tensor | None
        self.register_buffer("latents", torch.zeros(shape[0], latent, dtype=kind))
        self.register_buffer("norms", torch.zeros(shape[0], dtype=kind) if norms else None)
        for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:])):
            self.register_buffer(f"weight{i}", torch.zeros(n_out, n_in, dtype=kind))
            self.register_buffer(f"bias{i}", torch.zeros(n_out, dtype=kind))

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {
            "latent": self.latent_size,
            "widths": self.widths,
            "norms": self.norms is not None,
            "dtype": self.dtype_name,
        }

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weight (out, in) and bias (out,) of each layer, in order."""
        return [(self.get_buffer(f"weight{i}"), self.get_buffer(f"bias{i}")) for i in range(len(self.widths) + 1)]

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        layers = [(w.float(), b.float()) for w, b in self.layers()]
        decoded = decode(self.latents[ids].float(), layers)
        if self.norms is None:
            return decoded
        return nn.functional.normalize(decoded, dim=1, eps=1e-12) * self.norms[ids, None].float()


def decode(latents: Tensor, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
    """(B, x) through linear layers, LeakyReLU between them, tanh at the end: (B, d)."""
    hidden = latents
    for weight, bias in layers[:-1]:
        hidden = nn.functional.leaky_relu(nn.functional.linear(hidden, weight, bias), LEAK)
    return nn.functional.linear(hidden, *layers[-1]).tanh()
