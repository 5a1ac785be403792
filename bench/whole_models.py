"""Whole models in one code, and what each of its ingredients is worth, against the dense model."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from embpress.data.counts import counts_from_file
from embpress.methods._base import Context
from embpress.methods._code_options import ALL, BASELINES, CodeOptions
from embpress.models.calibration import Calibration, calibrate
from embpress.models.calibration_texts import encode_texts, longest_text
from embpress.models.dense_matrices import find_matrices
from embpress.models.embedding import find_embedding
from embpress.models.pretrained import load_dense_model
from embpress.models.tokenization import load_tokenizer
from embpress.models.whole_model_code import code_model

from .common import Table, parser
from .integer_models import INTEGERS, IntegerRow, round_model

BATCH = 32
PAIR = 2


class Row(NamedTuple):
    """A way to code a model."""

    label: str
    options: CodeOptions = ALL


OURS = Row("ours")
ROWS = (
    Row("without rows by G", CodeOptions(row_steps=False)),
    Row("one step a matrix", CodeOptions(column_steps=False, row_steps=False)),
    Row("without feedback", CodeOptions(feedback=False)),
    Row("without the trellis", CodeOptions(trellis=False)),
    *(Row(label, CodeOptions.parse(options)) for label, options in BASELINES.items()),
)


class Texts(NamedTuple):
    """Test texts and their labels, if they have any."""

    ids: list[list[int]]
    labels: Tensor | None


def read_texts(path: Path, encode: Callable[[list[str]], list[list[int]]]) -> Texts:
    """Texts a line; after a tab the position of the label."""
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line]
    is_labelled = all(len(line) == PAIR for line in lines)
    labels = torch.tensor([int(line[1]) for line in lines]) if is_labelled else None
    return Texts(encode([line[0] for line in lines]), labels)


def predict(model: PreTrainedModel, texts: Texts) -> Tensor:
    """Log-probabilities of a classifier, (n, C), or of a language model at every token."""
    pad = getattr(model.config, "pad_token_id", None) or 0
    logs = []
    with torch.no_grad():
        for start in range(0, len(texts.ids), BATCH):
            batch = texts.ids[start : start + BATCH]
            ids = torch.full((len(batch), max(map(len, batch))), pad)
            mask = torch.zeros_like(ids)
            for i, text in enumerate(batch):
                ids[i, : len(text)] = torch.tensor(text)
                mask[i, : len(text)] = 1
            logits = model(input_ids=ids, attention_mask=mask).logits
            is_token = logits.ndim > PAIR
            logs.append((logits[mask.bool()] if is_token else logits).float().log_softmax(-1))
    return torch.cat(logs)


def perplexity(logs: Tensor, texts: Texts) -> float:
    """Of the next tokens, from the log-probabilities at all tokens."""
    total, n, start = 0.0, 0, 0
    for text in texts.ids:
        own = logs[start : start + len(text) - 1]
        total -= float(own.gather(1, torch.tensor(text[1:])[:, None]).sum())
        start += len(text)
        n += len(text) - 1
    return math.exp(total / n)


def evaluate_integers(
    folder: Path, calibration: Calibration, row: IntegerRow, counts: Tensor | None
) -> tuple[PreTrainedModel, float, float, float]:
    """As `evaluate`, of a model in integers; all other weights take 16 bits."""
    model = load_dense_model(folder).float()
    of_layers = sum(place.weight.numel() for place in find_matrices(model))
    coded = of_layers + find_embedding(model)[1].weight.numel()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    start = time.process_time()
    sizes = round_model(model, row, calibration, counts)
    seconds = time.process_time() - start
    bits = sizes.layers + sizes.embedding + 16 * (parameters - coded)
    return model, 32 * parameters / bits, sizes.layers / of_layers, seconds


def evaluate(
    folder: Path, calibration: Calibration, row: Row, ratio: float, counts: Tensor | None
) -> tuple[PreTrainedModel, float, float, float]:
    """The compressed model, its ratio, bits a weight of the layers, and seconds of coding."""
    model = load_dense_model(folder).float()
    of_layers = sum(place.weight.numel() for place in find_matrices(model))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    start = time.process_time()
    own = calibration if row.options.calibration else Calibration()
    coded = code_model(model, ratio, own, counts, Context(), row.options)
    seconds = time.process_time() - start
    with torch.no_grad():
        find_embedding(model)[1].weight.copy_(coded.embedding.dense())
    layers = sum(layer.matrix.stored_bits for layer in coded.layers)
    bits = coded.embedding.stored_bits + layers + coded.other_bits
    return model, 32 * parameters / bits, layers / of_layers, seconds


def main() -> None:
    """Print a table: one row a code and ratio."""
    options = parser(__doc__)
    options.add_argument("--model", type=Path, required=True, help="folder of a classifier or LM")
    options.add_argument("--calibration", type=Path, required=True, help="a text a line")
    options.add_argument("--test", type=Path, required=True, help="a text a line, tab, label")
    options.add_argument("--counts", type=Path, help="token counts")
    options.add_argument("--ratios", default="16,23,32", help="of the whole model, for our code")
    options.add_argument("--ablated", type=float, default=0, help="ratio of the ablations")
    options.add_argument("--integers", action="store_true", help="integers and GPTQ too")
    options.add_argument("--tokens", type=int, default=48, help="tokens of a text")
    chosen = options.parse_args()
    tokenizer = load_tokenizer(chosen.model)
    dense = load_dense_model(chosen.model).float()
    longest = min(chosen.tokens, longest_text(dense))
    counts = None
    if chosen.counts:
        rows = find_embedding(dense)[1].num_embeddings
        counts = counts_from_file(chosen.counts, rows, tokenizer)
    texts = read_texts(chosen.test, lambda lines: encode_texts(lines, tokenizer, longest))
    wanted = predict(dense, texts)
    lines = chosen.calibration.read_text(encoding="utf-8").splitlines()
    encoded = encode_texts(lines, tokenizer, longest, in_parts=True)
    calibration = calibrate(dense, encoded, mask_id=tokenizer.mask_token_id)
    columns = ("code", "ratio", "bits a weight, layers", "KL", "agreement", "score", "of dense")
    table = Table(f"{chosen.model.name}: {calibration.n_texts} calibration texts", *columns, "s")
    runs: list[tuple[Row | IntegerRow, float]] = []
    runs += [(OURS, float(ratio)) for ratio in chosen.ratios.split(",") if ratio]
    runs += [(row, chosen.ablated) for row in ROWS if chosen.ablated]
    runs += [(integers, 0) for integers in INTEGERS if chosen.integers]
    dense_score = score(wanted, texts)
    for row, ratio in runs:
        if isinstance(row, IntegerRow):
            results = evaluate_integers(chosen.model, calibration, row, counts)
        else:
            results = evaluate(chosen.model, calibration, row, ratio, counts)
        model, reached, rate, seconds = results
        found = predict(model, texts)
        kl = float(functional.kl_div(found, wanted, log_target=True, reduction="batchmean"))
        agreement = float((found.argmax(1) == wanted.argmax(1)).float().mean())
        value = score(found, texts)
        cells = [f"{reached:.2f}", f"{rate:.2f}", f"{kl:.4f}", f"{100 * agreement:.1f}"]
        table.add(row.label, *cells, f"{value:.4f}", f"{value / dense_score:.4f}", f"{seconds:.0f}")
    table.print()


def score(logs: Tensor, texts: Texts) -> float:
    """Accuracy of labelled texts, else perplexity."""
    if texts.labels is None:
        return perplexity(logs, texts)
    return float((logs.argmax(1) == texts.labels).float().mean())


if __name__ == "__main__":
    main()
