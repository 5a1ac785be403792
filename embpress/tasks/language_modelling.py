"""Perplexity per token of a causal language model on held-out text."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..errors import UserError
from ..study.fields import Frozen
from ..study.task_entry import Metric, TaskEntry, ZeroShot
from ._base import Outcomes, Progress, Task, TaskInputs

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TOKENS_A_BATCH = 2048
"""A compressed head decodes its rows once a batch: batches are large, as long as logits of
(tokens, V) floats fit memory."""

CHUNK = 15
"""Neighbouring tokens whose losses are resampled together: they are not independent."""


class LanguageModellingData(Frozen):
    """Which text is read."""

    corpus: str = Field(description="Corpus whose held-out texts are read.")


class LanguageModellingEntry(TaskEntry):
    """Prediction of the next token of held-out text."""

    known_metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("perplexity", "perplexity", higher_is_better=False, percent=False),
    )

    kind: Literal["language_modelling"] = Field(description="Kind of task.")
    protocol: ZeroShot
    data: LanguageModellingData = Field(description="Which text is read.")
    dense_head: bool = Field(
        default=False,
        description="Leave a tied output head uncompressed, as the papers' perplexity does; the "
        "model then stores it beside.",
    )
    tokens: int = Field(ge=16, description="Tokens of text.")
    block: int = Field(ge=16, description="Tokens of a block; each is read without context.")

    @property
    def held_out_corpus(self) -> str | None:
        """See base class."""
        return self.data.corpus

    @property
    def input_length(self) -> tuple[int, str] | None:
        """See base class."""
        return self.block, "block"

    @property
    def keeps_dense_head(self) -> bool:
        """See base class."""
        return self.dense_head


class LanguageModelling(Task[LanguageModellingEntry]):
    """exp(mean negative log-likelihood) over blocks of text; each block starts without context."""

    entry_model = LanguageModellingEntry
    metrics = LanguageModellingEntry.known_metrics
    head = "causal_lm"

    def __init__(self, entry: LanguageModellingEntry, inputs: TaskInputs) -> None:
        from ..data.texts import read_texts

        super().__init__(entry, inputs)
        if inputs.held_out is None:
            raise UserError(
                "language modelling needs `corpus` under `data`, with `held_out` above 0 in that "
                "corpus"
            )
        self.texts = read_texts(inputs.held_out)

    def blocks(self, tokenizer: PreTrainedTokenizerBase) -> Tensor:
        """Blocks of token ids, evenly spread over the held-out text: (tokens / block, block).

        Raises:
            UserError: if the text is too short.
        """
        import torch

        size = self.entry.block
        wanted = self.entry.tokens // size
        text = "\n".join(self.texts)
        encoded = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        stream = encoded["input_ids"][0]
        whole = stream[: len(stream) // size * size].view(-1, size)
        if not 0 < wanted <= len(whole):
            raise UserError(
                f"{len(stream)} held-out tokens do not fill {wanted} blocks of {size}: lower "
                "`tokens`"
            )
        return whole[torch.linspace(0, len(whole) - 1, wanted).round().long()]

    def outcomes(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, progress: Progress
    ) -> Outcomes:
        """See base class. `nll`: losses of predicted tokens in nats, CHUNK neighbours a row."""
        import torch

        losses: list[Tensor] = []
        blocks = self.blocks(tokenizer)
        with torch.inference_mode():
            for block in blocks.split(max(1, TOKENS_A_BATCH // self.entry.block)):
                ids = block.to(model.device)
                logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
                loss = torch.nn.functional.cross_entropy(
                    logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
                )
                losses.append(loss)
                progress(f"{sum(map(len, losses))}/{blocks.numel()} tokens")
        nll = torch.cat(losses).cpu()
        return {"nll": nll[: len(nll) // CHUNK * CHUNK].view(-1, CHUNK).numpy()}

    @staticmethod
    def n_resampling_units(outcomes: Outcomes) -> dict[str, int]:
        """See base class."""
        return {"chunk": len(outcomes["nll"])}

    @staticmethod
    def scores(
        outcomes: Outcomes, bootstrap_indices: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """See base class. Computed in float64; the exponent is not clipped."""
        import numpy as np

        chunk_means = outcomes["nll"].astype(np.float64).mean(1)
        return {"perplexity": np.exp(chunk_means[bootstrap_indices["chunk"]].mean(1))}

    @staticmethod
    def n_examples(outcomes: Outcomes) -> dict[str, int]:
        """Tokens, not chunks."""
        return {"perplexity": outcomes["nll"].size}
