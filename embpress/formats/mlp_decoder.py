"""Latents and a small network that decodes them: an autoencoder without its encoder."""

from typing import Any

from torch import Tensor
from torch.nn import functional

from ._factors import Factor, FactoredMatrix

LEAK = 0.01
"""Slope of LeakyReLU below 0."""

Layer = tuple[Tensor, Tensor]
"""Weight (out, in) and bias (out,) of a linear layer."""


class MLPDecoder(FactoredMatrix):
    """Latents (V, x), linear layers x -> widths -> d, and optionally the rows' norms (V,).

    LeakyReLU is between the layers and the activation `output` after the last: tanh, elu or linear.
    With `norms` each decoded row is scaled to the norm of the original row.
    """

    format = "mlp_decoder"

    def __init__(
        self,
        shape: tuple[int, int],
        latent: int,
        widths: list[int],
        norms: bool = True,
        output: str = "tanh",
        dtype: str = "float32",
    ) -> None:
        super().__init__(shape, dtype, self.factors(shape, latent, widths, norms))
        self.latent_size = latent
        self.widths = list(widths)
        self.has_norms = norms
        self.output = output

    @staticmethod
    def factors(
        shape: tuple[int, int], latent: int, widths: list[int], norms: bool = True
    ) -> dict[str, Factor]:
        """Stored factors."""
        sizes = [latent, *widths, shape[1]]
        factors = {"latents": Factor((shape[0], latent), axis=0)}
        for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:])):
            factors |= {f"weight{i}": Factor((n_out, n_in), axis=1), f"bias{i}": Factor((n_out,))}
        return factors | {"norms": Factor((shape[0],))} if norms else factors

    def fill(self, latents: Tensor, layers: list[Layer], norms: Tensor | None = None) -> None:
        """Store fitted latents (V, x), the layers in order, and norms (V,)."""
        # Latents after an activation are mostly positive, so that half of the int8 codes would not
        # be used: they are centred, and the first bias undoes it.
        centre = (latents.amin(0) + latents.amax(0)) / 2
        self.store("latents", latents - centre)
        for i, (weight, bias) in enumerate(layers):
            self.store(f"weight{i}", weight)
            self.store(f"bias{i}", bias if i else bias + weight @ centre)
        if norms is not None:
            self.store("norms", norms)

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {
            "latent": self.latent_size,
            "widths": self.widths,
            "norms": self.has_norms,
            "output": self.output,
            "dtype": self.dtype_name,
        }

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        layers = [
            (self.factor(f"weight{i}"), self.factor(f"bias{i}"))
            for i in range(len(self.widths) + 1)
        ]
        decoded = decode(self.factor_rows("latents", ids), layers, self.output)
        if not self.has_norms:
            return decoded
        return (
            functional.normalize(decoded, dim=1, eps=1e-30)
            * self.factor_rows("norms", ids)[:, None]
        )

    def decode_flops(self, n_rows: int) -> int:
        """See base class."""
        sizes = [self.latent_size, *self.widths, self.shape[1]]
        return 2 * n_rows * sum(n_in * n_out for n_in, n_out in zip(sizes, sizes[1:]))


def decode(latents: Tensor, layers: list[Layer], output: str) -> Tensor:
    """Decode latents (B, x) to rows (B, d).

    Args:
        latents: (B, x).
        layers: linear layers, with LeakyReLU between them.
        output: activation after the last layer: tanh, elu or linear.
    """
    hidden = latents
    for weight, bias in layers[:-1]:
        hidden = functional.leaky_relu(functional.linear(hidden, weight, bias), LEAK)
    decoded = functional.linear(hidden, *layers[-1])
    if output == "tanh":
        return decoded.tanh()
    return functional.elu(decoded) if output == "elu" else decoded
