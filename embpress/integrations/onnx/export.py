"""Write an exported model as an ONNX file.

torch.onnx exports the model with one node for each use of a compressed matrix; these nodes are then
replaced by the operators that decode it. Distinct ids of a batch are decoded once. A head with a
matrix of its own is computed from that one.
"""

import inspect
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxscript  # noqa: F401  torch.onnx imports it
import torch
from onnx import helper
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from ...errors import UserError
from ...export.exported_model import load
from ...export.stored_layers import read_layer_list
from ...files import output_file, partial_file, summarize_error
from ...formats._base import CompressedMatrix
from ...methods import compress
from ...models.embedding import find_embedding
from ...models.pretrained import open_tokenizer
from .graph import Graph
from .lookup import IR_VERSION, OPSET, opset_imports
from .matrices import decode, is_supported

DOMAIN = "embpress"
MAX_BYTES = 2**31 - 2**20
"""Largest ONNX file; the tensors of larger models are written to a second file, FILE.data."""
MAX_DIFFERENCE = 1e-4
"""Largest accepted difference between the outputs of onnxruntime and of torch, relative to the
largest output."""


@dataclass(frozen=True)
class OnnxSummary:
    """What an ONNX file contains."""

    file: Path
    inputs: tuple[str, ...]
    output: str
    layer: str
    """Name of the embedding layer that was compressed."""
    format: str
    """Format of its stored matrix."""
    is_recoded: bool
    """Whether the matrix was decoded to int8 rows, as ONNX has no operators for its format."""
    head_format: str | None
    """Format of the head's own matrix, if it has one."""
    is_head_recoded: bool
    """Whether the head's own matrix was decoded to int8 rows."""
    embedding_bytes: int
    """Bytes of the tensors of all compressed matrices in the file."""
    counted_bytes: int
    """Stored bytes of the compressed matrices in the exported model."""
    decoded_layers: int
    """Number of other compressed matrices, which `load` decodes: they are dense in the file."""
    decoded_bytes: int
    """Bytes of these as float32."""
    file_bytes: int
    difference: float
    """Largest absolute difference between the outputs of onnxruntime and of torch on a sample."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"file": str(self.file), "inputs": list(self.inputs)}

    def render(self) -> str:
        """As lines of text."""
        recoded = " (decoded and rounded: ONNX has no operators for the format)"
        in_folder = f"{self.counted_bytes:,} in the exported model"
        formats = f"{self.layer} as {self.format}" + recoded * self.is_recoded
        if self.head_format is not None:
            formats += f", head as {self.head_format}" + recoded * self.is_head_recoded
        decoded = (
            f"layers     {self.decoded_layers} other compressed matrices are decoded: "
            f"{self.decoded_bytes:,} bytes, dense in float32"
        )
        return "\n".join(
            [
                f"inputs     {', '.join(self.inputs)}",
                f"output     {self.output}, up to {self.difference:.1e} from torch's",
                f"matrices   {formats}",
                f"bytes      {self.embedding_bytes:,} of these, {in_folder}",
                *([decoded] if self.decoded_layers else []),
                f"file       {self.file_bytes:,} bytes, written to {self.file}",
            ]
        )


class _MatrixNode(nn.Module):
    """In place of a compressed matrix: one node for each use."""

    product_dtype = torch.float32

    def __init__(self, shape: tuple[int, int]) -> None:
        super().__init__()
        self.shape = shape

    def lookup(self, ids: Tensor) -> Tensor:
        """(...) to (..., d); each distinct id is decoded once."""
        distinct_ids, positions = ids.unique(return_inverse=True)
        rows = self._node("Rows", distinct_ids, (distinct_ids.shape[0], self.shape[1]))
        return functional.embedding(positions, rows)

    def product(self, x: Tensor) -> Tensor:
        """(..., d) to (..., V)."""
        return self._node("Product", x, (*x.shape[:-1], self.shape[0]))

    @staticmethod
    def _node(name: str, x: Tensor, shape: tuple[Any, ...]) -> Tensor:
        return torch.onnx.ops.symbolic(
            f"{DOMAIN}::{name}", (x,), dtype=torch.float32, shape=shape, version=1
        )


class _FirstOutput(nn.Module):
    """A model with these inputs whose only output is the first: hidden states, or logits."""

    def __init__(self, model: PreTrainedModel, inputs: list[str]) -> None:
        super().__init__()
        self.model = model
        self.inputs = inputs
        takes_cache = "use_cache" in inspect.signature(model.forward).parameters
        self.constants = {"use_cache": False} if takes_cache else {}

    def forward(self, *values: Tensor) -> Tensor:
        """The values of the inputs, int64 (batch, sequence) each, to the output."""
        inputs = dict(zip(self.inputs, values))
        return self.model(**inputs, **self.constants, return_dict=True)[0]


def export_onnx(folder: str | Path, file: str | Path, contrib: bool = False) -> OnnxSummary:
    """Write an exported model as an ONNX file whose compressed embedding stays compressed.

    That is the matrix of the input embedding or of another table, and that of a head with a code of
    its own. All other layers are dense, in float32, also those that `compress_whole_model` has
    compressed. Inputs are those that the tokenizer returns, int64 (batch, sequence) of any size;
    the output is the first one of the model, such as `last_hidden_state`, in float32. The file is
    run by onnxruntime on a sample, and compared with torch, before it is written.

    Args:
        folder: a folder that `compress_model` wrote.
        file: the file to write.
        contrib: use onnxruntime's operator GatherBlockQuantized for integer rows of 4 and 8 bits.

    Raises:
        UserError: if the file cannot be written, the folder contains no exported model, torch
            cannot export it, or onnxruntime computes other outputs.
    """
    file = output_file(file)
    model: Any = load(folder).float()
    slot = model.embedding_slot
    matrix, head = slot.matrix, slot.own_head
    stored = _with_operators(matrix)
    stored_head = None if head is None else _with_operators(head)
    slot.set_matrix(stored, stored_head)
    sample = _sample_inputs(model, Path(folder))
    name, expected = _first_output(model, sample, Path(folder))
    for layer in slot.layer_names:
        model.get_submodule(layer).matrix = _MatrixNode(slot.shape)
    exported = _run_exporter(model, sample, name, Path(folder))
    # Lookups decode rows, and heads multiply.
    matrices = {"Rows": stored, "Product": stored_head or stored}
    embedding_bytes = _insert_decoders(exported, matrices, contrib)
    difference = _write_checked(exported, file, sample, expected)
    layers = [layer.shape for layer in read_layer_list(Path(folder))]
    return OnnxSummary(
        file=file,
        inputs=tuple(sample),
        output=name,
        layer=slot.lookups[0],
        format=stored.format,
        is_recoded=stored is not matrix,
        head_format=None if stored_head is None else stored_head.format,
        is_head_recoded=stored_head is not head,
        embedding_bytes=embedding_bytes,
        counted_bytes=(matrix.stored_bits + (head.stored_bits if head is not None else 0)) // 8,
        decoded_layers=len(layers),
        decoded_bytes=4 * sum(math.prod(shape) for shape in layers),
        file_bytes=sum(path.stat().st_size for path in (file, _data_file(file)) if path.exists()),
        difference=difference,
    )


def _with_operators(matrix: CompressedMatrix) -> CompressedMatrix:
    """A matrix as it is, or decoded and rounded to int8 rows if ONNX cannot decode its format."""
    return matrix if is_supported(matrix) else compress(matrix.dense(), "integer", 1, bits=8)


def _sample_inputs(model: Any, folder: Path) -> dict[str, Tensor]:
    """Inputs of two texts, of which one is padded on the right."""
    tokenizer = open_tokenizer(folder, lambda message: None)
    names = ["input_ids", "attention_mask"]
    if tokenizer is not None:
        names = list(dict.fromkeys([*tokenizer.model_input_names, *names]))
    accepted = inspect.signature(model.forward).parameters
    generator = torch.Generator().manual_seed(0)
    slot = model.embedding_slot
    n_rows = slot.shape[0] if slot.table is None else find_embedding(model)[1].num_embeddings
    mask = torch.ones(2, 7, dtype=torch.int64)
    mask[1, 5:] = 0
    values = {
        "input_ids": torch.randint(n_rows, (2, 7), generator=generator),
        "attention_mask": mask,
        "token_type_ids": torch.zeros(2, 7, dtype=torch.int64),
    }
    return {name: values[name] for name in names if name in accepted and name in values}


def _first_output(
    model: PreTrainedModel, sample: dict[str, Tensor], folder: Path
) -> tuple[str, Tensor]:
    """Name and values of the first output.

    Raises:
        UserError: if the model needs other inputs, such as images or decoder ids.
    """
    try:
        with torch.no_grad():
            return next(iter(model(**sample, return_dict=True).items()))
    except Exception as error:  # of any part of the model
        raise UserError(
            f"{folder}: a {type(model).__name__} does not run on {', '.join(sample)} alone "
            f"({summarize_error(error)}): only models with these inputs can be exported"
        ) from error


def _run_exporter(
    model: PreTrainedModel, sample: dict[str, Tensor], output: str, folder: Path
) -> onnx.ModelProto:
    """Export with torch.onnx, with any number of texts and tokens.

    Raises:
        UserError: if the model cannot be exported.
    """
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    try:
        with warnings.catch_warnings(), _quiet_exporter():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                _FirstOutput(model, list(sample)).eval(),
                tuple(sample.values()),
                dynamic_shapes={"values": tuple(axes for _ in sample)},
                input_names=list(sample),
                output_names=[output],
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # any part of the model may fail to export
        raise UserError(
            f"{folder}: torch cannot export a {type(model).__name__} "
            f"({summarize_error(_first_cause(error))}): use embpress.load"
        ) from error
    return program.model_proto


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Hide torch.onnx's messages but errors, such as that torchvision is not installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _first_cause(error: BaseException) -> Exception:
    """The error at the start of a chain; the exporter wraps errors in general advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error  # type: ignore[return-value]


def _insert_decoders(
    exported: onnx.ModelProto, matrices: Mapping[str, CompressedMatrix], contrib: bool
) -> int:
    """Replace the nodes of the matrices by those that decode them.

    Args:
        exported: the model with nodes of DOMAIN.
        matrices: the matrix of each type of node, `Rows` and `Product`.
        contrib: see `export_onnx`.

    Returns:
        The stored bytes of all matrices.
    """
    graph = Graph(contrib)
    nodes: list[onnx.NodeProto] = []
    for node in exported.graph.node:
        if node.domain != DOMAIN:
            nodes.append(node)
            continue
        (x,) = node.input
        matrix = matrices[node.op_type]
        first = len(graph.nodes)
        graph.feeds_product = node.op_type == "Product"
        if not graph.feeds_product:
            result = decode(matrix, graph, x)
        else:
            rows = decode(matrix, graph, graph.stored(torch.arange(matrix.shape[0])))
            result = graph.add("MatMul", x, graph.add("Transpose", rows, perm=[1, 0]))
        nodes += graph.nodes[first:]
        nodes.append(helper.make_node("Identity", [result], list(node.output)))
    del exported.graph.node[:]
    exported.graph.node.extend(nodes)
    exported.graph.initializer.extend(graph.initializers)
    del exported.opset_import[:]
    exported.opset_import.extend(opset_imports(contrib))
    exported.ir_version = IR_VERSION
    return graph.stored_bytes


def _write_checked(
    exported: onnx.ModelProto, file: Path, sample: dict[str, Tensor], expected: Tensor
) -> float:
    """Write a file, run it, and let it replace `file` only if its outputs are right.

    Returns:
        The largest absolute difference to the expected outputs.

    Raises:
        UserError: if onnxruntime refuses the file, or its outputs differ.
    """
    partial = partial_file(file)
    is_large = exported.ByteSize() > MAX_BYTES
    try:
        onnx.save_model(
            exported, partial, save_as_external_data=is_large, location=_data_file(file).name
        )
        outputs = _run(partial, sample)
        difference = float((outputs - expected).abs().max())
        if not difference <= MAX_DIFFERENCE * max(1.0, float(expected.abs().max())):
            raise UserError(
                f"{file}: the outputs of onnxruntime differ by {difference:g} from those of torch: "
                "use embpress.load, and report this model"
            )
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return difference


def _data_file(file: Path) -> Path:
    """The file with the tensors of a model that one ONNX file cannot hold."""
    return file.with_name(f"{file.name}.data")


def _run(file: Path, sample: dict[str, Tensor]) -> Tensor:
    """The first output of a file on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        inputs: dict[str, np.ndarray] = {name: value.numpy() for name, value in sample.items()}
        return torch.from_numpy(session.run(None, inputs)[0])
    except Exception as error:  # onnxruntime has exceptions of its own
        raise UserError(
            f"onnxruntime cannot run the exported model ({summarize_error(error)}): update "
            "onnxruntime, or use embpress.load"
        ) from error
