"""Rule tokens."""

from pathlib import Path

from job import run

with run(snakemake) as log:
    from embpress.data.token_counts import check_segmenter, count_table, write_counts
    from embpress.models.checkpoints import read_metadata
    from embpress.models.tokenization import load_tokenizer

    model = Path(snakemake.input.model)
    tokenizer = load_tokenizer(model)
    check_segmenter(tokenizer, snakemake.params.segmenter, snakemake.wildcards.corpus)
    counts = count_table(Path(snakemake.input.words), tokenizer, read_metadata(model)["shape"][0])
    log.info(
        "%d tokens, %d of %d rows seen", int(counts.sum()), int((counts > 0).sum()), len(counts)
    )
    write_counts(counts, Path(snakemake.output[0]))
