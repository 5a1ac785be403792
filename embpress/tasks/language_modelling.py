"""Perplexity per token of a causal language model on held-out text."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..data.texts import read_texts
from ..errors import UserError
from ._base import Inputs, Metric, Outcomes, Task

TOKENS_A_BATCH = 2048
"""A compressed head decodes its rows once a batch.

Large batches, as long as logits of (tokens, V) floats fit memory.
"""

CHUNK = 15
"""Neighbouring tokens whose losses are resampled together: they are not independent."""


class LanguageModelling(Task):
    """exp(mean negative log-likelihood) over blocks of text; each block starts without context."""

    metrics = (Metric("perplexity", "perplexity", higher_is_better=False, percent=False),)
    head = "causal_lm"

    def __init__(self, config: dict[str, Any], inputs: Inputs) -> None:
        super().__init__(config, inputs)
        if inputs.held_out is None:
            raise UserError(
                "language modelling needs `corpus` under `data`, with `held_out` above 0 in that corpus"
            )
        self.texts = read_texts(inputs.held_out)

    def blocks(self, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
        """Blocks of token ids, evenly spread over the held-out text: (tokens / block, block)."""
        size = self.config["block"]
        wanted = self.config["tokens"] // self.config["block"]
        stream = tokenizer("\n".join(self.texts), add_special_tokens=False, return_tensors="pt")[
            "input_ids"
        ][0]
        whole = stream[: len(stream) // size * size].view(-1, size)
        if not 0 < wanted <= len(whole):
            raise UserError(
                f"{len(stream)} held-out tokens do not fill {wanted} blocks of {size}: lower `tokens`"
            )
        return whole[torch.linspace(0, len(whole) - 1, wanted).round().long()]

    def outcomes(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        progress: Callable[[str], None],
    ) -> Outcomes:
        """See base class. `nll` holds the loss of each predicted token in nats.

        In rows of CHUNK neighbours.
        """
        losses = []
        blocks = self.blocks(tokenizer)
        with torch.inference_mode():
            for batch in blocks.split(max(1, TOKENS_A_BATCH // self.config["block"])):
                logits = model(input_ids=batch, use_cache=False).logits[:, :-1]
                loss = torch.nn.functional.cross_entropy(
                    logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="none"
                )
                losses.append(loss)
                progress(f"{sum(map(len, losses))}/{blocks.numel()} tokens")
        nll = torch.cat(losses)
        return {"nll": nll[: len(nll) // CHUNK * CHUNK].view(-1, CHUNK).numpy()}

    @staticmethod
    def sizes(outcomes: Outcomes) -> dict[str, int]:
        """See base class."""
        return {"chunk": len(outcomes["nll"])}

    @staticmethod
    def scores(outcomes: Outcomes, draws: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See base class. Computed in float64; the exponent is not clipped."""
        chunk_means = outcomes["nll"].astype(np.float64).mean(1)
        return {"perplexity": np.exp(chunk_means[draws["chunk"]].mean(1))}

    @staticmethod
    def examples(outcomes: Outcomes) -> dict[str, int]:
        """Tokens, not chunks."""
        return {"perplexity": outcomes["nll"].size}
