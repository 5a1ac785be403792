"""Perplexity per token of a causal language model on held-out text, and how far its predictions are
from those of the uncompressed model.
"""

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

    from ._predictions import ReferenceHead

TOKENS_A_BATCH = 2048
"""A compressed head decodes its rows once a batch: batches are large, as long as logits of
(tokens, V) floats fit memory."""

CHUNK = 15
"""Neighbouring tokens whose losses are resampled together: they are not independent."""

HIDDEN = "hidden"
"""Outcome of the uncompressed model that the others are compared with."""


class LanguageModellingData(Frozen):
    """Which text is read."""

    corpus: str = Field(description="Corpus whose held-out texts are read.")


class LanguageModellingEntry(TaskEntry):
    """Prediction of the next token of held-out text."""

    known_metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("perplexity", "perplexity", higher_is_better=False, percent=False),
        # log(perplexity / uncompressed perplexity), of which retention is the exponential
        Metric("nats_lost", "nats lost a token", False, False, of_itself=0.0),
        Metric("kl_divergence", "KL divergence, nats", False, False, of_itself=0.0),
        Metric("top1_agreement", "top-1 agreement", of_itself=1.0),
    )

    scores_tokens: ClassVar[bool] = True

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
    """exp(mean negative log-likelihood) over blocks of text, each of which starts without context.

    Beside the uncompressed model: the difference of the losses, the mean Kullback-Leibler
    divergence KL(uncompressed || model) of the predictions, and the share of predictions whose
    likeliest token is the same.
    """

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
        self._reference_head: ReferenceHead | None = None

    def set_reference(self, model: PreTrainedModel, outcomes: Outcomes) -> None:
        """See base class. Keeps the model's output head."""
        import torch

        from ._predictions import ReferenceHead

        super().set_reference(model, outcomes)
        if HIDDEN in outcomes:
            inputs = torch.from_numpy(outcomes[HIDDEN]).to(model.device)
            self._reference_head = ReferenceHead(model, inputs)

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
        """See base class. `nll`: losses of tokens in nats, CHUNK neighbours a row.

        With a reference also `nats_lost`, `kl_divergence` and `top1_agreement` of the same tokens.
        Without one also HIDDEN, what enters the output head, (tokens, d).
        """
        import torch

        from ._predictions import HeadInputs

        losses: list[Tensor] = []
        compared: list[Tensor] = []
        hidden: list[Tensor | None] = []
        blocks = self.blocks(tokenizer)
        recorder = HeadInputs(model) if self.reference is None else None
        with torch.inference_mode():
            for block in blocks.split(max(1, TOKENS_A_BATCH // self.entry.block)):
                ids = block.to(model.device)
                logits = model(input_ids=ids, use_cache=False).logits
                if recorder is not None:
                    hidden.append(recorder.take(logits))
                logits = logits[:, :-1].flatten(0, 1).float()
                targets = ids[:, 1:].flatten()
                loss = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
                if self._reference_head is not None:
                    first = sum(map(len, losses))
                    compared.append(self._reference_head.compare(first, logits, loss, targets))
                losses.append(loss)
                progress(f"{sum(map(len, losses))}/{blocks.numel()} tokens")
        if recorder is not None:
            recorder.remove()
        outcomes = {"nll": _chunks(torch.cat(losses))}
        if self.reference is not None:
            outcomes["nats_lost"] = outcomes["nll"] - self.reference["nll"]
        if compared:
            pairs = zip(("kl_divergence", "top1_agreement"), torch.cat(compared, 1))
            outcomes |= {name: _chunks(values) for name, values in pairs}
        states = [states[:, :-1].flatten(0, 1) for states in hidden if states is not None]
        if states and len(states) == len(hidden):
            outcomes[HIDDEN] = torch.cat(states).cpu().numpy()
        return outcomes

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

        means = {
            name: values.astype(np.float64).mean(1)[bootstrap_indices["chunk"]].mean(1)
            for name, values in outcomes.items()
            if name != HIDDEN
        }
        return {"perplexity": np.exp(means.pop("nll")), **means}

    @staticmethod
    def n_examples(outcomes: Outcomes) -> dict[str, int]:
        """Tokens, not chunks."""
        names = LanguageModellingEntry.metric_names()
        return dict.fromkeys(names, outcomes["nll"].size)


def _chunks(values: Tensor) -> np.ndarray:
    """Values of tokens (n,), CHUNK neighbours a row; what does not fill a row is left out."""
    return values[: len(values) // CHUNK * CHUNK].view(-1, CHUNK).cpu().numpy()
