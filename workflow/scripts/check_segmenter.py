"""Rule check_segmenter."""

from itertools import islice
from pathlib import Path

from job import run

with run(snakemake) as log:
    from embpress.data.corpus_tokens import choose_segmentation, sample_texts
    from embpress.data.shards import iterate_texts, list_shards
    from embpress.files import write_json
    from embpress.models.tokenization import load_tokenizer

    entry = snakemake.params.entry
    shards = list_shards(Path(snakemake.input.folder), entry.get("column", "text"))
    texts_of_shard = -(-1000 // len(shards))
    sample = sample_texts(
        text for shard in shards for text in islice(iterate_texts(shard), texts_of_shard)
    )
    differences = {}
    for model in snakemake.input.models:
        tokenizer = load_tokenizer(Path(model))
        chosen = choose_segmentation(
            sample, tokenizer, snakemake.wildcards.corpus, entry["segmenter"]
        )
        differences[Path(model).name] = chosen.difference
        log.info("%s: %.4f %% of the counts differ", Path(model).name, 100 * chosen.difference)
    write_json(Path(snakemake.output[0]), differences)
