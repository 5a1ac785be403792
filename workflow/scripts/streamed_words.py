"""Rule streamed_words."""

from pathlib import Path

from job import run, throttled

with run(snakemake) as log:
    from embpress.data.corpus_counts import Outputs, count_corpus
    from embpress.data.shards import shards_of

    entry = snakemake.params.entry
    shards = shards_of(Path(snakemake.input[0]), entry.get("column", "text"))
    log.info("%d shards", len(shards))
    count_corpus(
        shards,
        entry.get("segmenter", "whitespace"),
        entry.get("held_out", 0),
        Outputs(*(Path(snakemake.output[name]) for name in ("words", "counted", "held_out"))),
        Path(snakemake.params.shards),
        snakemake.threads,
        throttled(log),
    )
