"""A model whose table of n-grams is larger than the memory that compression and lookups take.

The model is a Byte Latent Transformer (Pagnoni et al. 2024), small but for its table of hashed
n-grams of bytes, which is generated. `embpress compress --matrix` and the loaded model run in a
process of their own each, whose peak memory is printed beside the size of the table. With --limit
neither can hold more private memory than that (on Linux).
"""

import json
import math
import resource
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import BltConfig, BltForCausalLM

from embpress import load
from embpress.cli import main as embpress_main
from embpress.models.pretrained import WEIGHTS
from embpress.numerics.rotation import Rotation

from .common import GENERATED, Table, block, chosen_of, parser, peak_bytes, verdict

TABLE = "model.encoder_hash_tok_embedding"
N_GRAMS = (3, 4, 5, 6, 7, 8)
"""Lengths of the hashed n-grams; each has a part of the table."""
SEED = 7
TEXT_BYTES = 1024
"""Length of the text whose n-grams are looked up."""
CASES: dict[str, tuple[str, float]] = {
    "int8": ("integer", 3.9),
    "integers": ("integer", 8),
    "GGUF Q4_0": ("gguf", 7),
    "signs": ("signs", 10),
    "SVD": ("svd", 10),
}


def blt_config(rows_of_a_length: int, d: int) -> BltConfig:
    """A model of one layer each, with a table of six times `rows_of_a_length` rows."""
    sizes = {"num_attention_heads": 4, "num_hidden_layers": 1, "intermediate_size": 2 * d}
    part: dict[str, Any] = sizes | {"hidden_size": d, "hidden_size_global": 2 * d}
    return BltConfig(
        encoder_hash_byte_group_vocab=rows_of_a_length,
        encoder_hash_byte_group_size=list(N_GRAMS),
        patching_mode="static",
        use_cache=False,
        patcher_config=sizes | {"hidden_size": d},
        encoder_config=part,
        decoder_config=part,
        global_config=sizes | {"hidden_size": 2 * d},
        architectures=["BltForCausalLM"],
    )


def write_model(folder: Path, rows_of_a_length: int, d: int, is_sparse: bool = False) -> None:
    """Write a model whose table is generated and written block by block.

    With `is_sparse` the table is a hole in the file, which reads as zeros and takes no disk.
    """
    config = blt_config(rows_of_a_length, d)
    config.save_pretrained(folder)
    torch.manual_seed(SEED)
    small = BltForCausalLM(blt_config(1, d)).state_dict()
    del small[f"{TABLE}.weight"]
    rows = len(N_GRAMS) * rows_of_a_length
    entries: dict[str, tuple[tuple[int, ...], int]] = {
        name: (tuple(tensor.shape), tensor.nbytes) for name, tensor in small.items()
    }
    entries[f"{TABLE}.weight"] = ((rows, d), 4 * rows * d)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (shape, size) in entries.items():
        span = [end, end + size]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": span}
        end += size
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)  # as safetensors aligns the tensors
    with (folder / WEIGHTS).open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for tensor in small.values():
            file.write(tensor.contiguous().numpy().tobytes())
        if is_sparse:
            file.truncate(file.tell() + 4 * rows * d)
            return
        rotation = Rotation(d, 0)
        for i in range(math.ceil(rows / GENERATED)):
            file.write(block(i, d, rotation)[: rows - i * GENERATED].numpy().tobytes())


def limit_memory(n_bytes: int) -> None:
    """Refuse this process more private memory; 0 is no limit."""
    if n_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (n_bytes, n_bytes))


def compress(folder: str, out: str, label: str, limit: int) -> None:
    """The first child: compress the table by the command line, and print the peak memory."""
    limit_memory(limit)
    method, ratio = CASES[label]
    words = f"compress --model {folder} --matrix {TABLE} --method {method} --ratio {ratio:g}"
    status = embpress_main([*words.split(), "--out", out, "--json"])
    print(json.dumps({"status": status, "peak": peak_bytes()}))


def look_up(folder: str, out: str, label: str, limit: int) -> None:
    """The second child: run the loaded model on text, and print the peak memory."""
    limit_memory(limit)
    model: Any = load(out)
    ids = torch.randint(4, 260, (1, TEXT_BYTES), generator=torch.Generator().manual_seed(SEED))
    looked_up: list[Tensor] = []
    model.get_submodule(TABLE).register_forward_hook(lambda *args: looked_up.append(args[2]))
    with torch.no_grad():
        model(input_ids=ids)
    n_rows = sum(rows.shape[:-1].numel() for rows in looked_up)
    print(json.dumps({"status": 0, "peak": peak_bytes(), "rows": n_rows}))


def run_child(step: str, *arguments: object) -> dict[str, int]:
    """What a child prints; it is a function of this module."""
    code = f"from bench import large_tables; large_tables.{step}{arguments!r}"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Write the model, and print the peak memory of each method."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=500_002, help="of n-grams of one length")
    options.add_argument("--dims", type=int, default=256)
    options.add_argument("--methods", default=",".join(CASES))
    options.add_argument("--limit", type=int, default=0, help="private memory in MiB; 0 is none")
    options.add_argument("--folder", help="where files are written; temporary without it")
    chosen = options.parse_args()
    labels = chosen_of(chosen.methods, CASES, options)
    rows = len(N_GRAMS) * chosen.rows
    table_bytes = 4 * rows * chosen.dims
    table = Table(
        f"{TABLE} of {rows:,} x {chosen.dims}, {table_bytes / 2**20:,.0f} MiB as float32: peak "
        f"memory in MiB; lookups are of {TEXT_BYTES:,} bytes of text",
        *("method", "ratio", "stored", "compress", "load and look up", "rows looked up"),
        "below the table",
    )
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        dense = Path(folder) / "dense"
        write_model(dense, chosen.rows, chosen.dims)
        for label in labels:
            out = Path(folder) / "out"
            arguments = (str(dense), str(out), label, chosen.limit << 20)
            fitted = run_child("compress", *arguments)
            if fitted["status"]:
                table.add(label, *["failed"] * 6)
                continue
            stored = sum(file.stat().st_size for file in out.glob("matrix.*"))
            loaded = run_child("look_up", *arguments)
            peaks = [fitted["peak"], loaded["peak"]]
            table.add(
                label,
                f"{table_bytes / stored:.1f}",
                f"{stored / 2**20:,.0f}",
                *(f"{peak / 2**20:,.0f}" for peak in peaks),
                f"{loaded['rows']:,}",
                verdict(max(peaks) < table_bytes),
            )
    table.print()


if __name__ == "__main__":
    main()
