"""Rule streamed_words."""

from pathlib import Path

from job import run, throttled

with run(snakemake) as log:
    from embpress.data.corpus_counts import CountOutputs, count_corpus
    from embpress.data.shards import list_shards

    entry = snakemake.params.entry
    shards = list_shards(Path(snakemake.input[0]), entry.get("column", "text"))
    log.info("%d shards", len(shards))
    count_corpus(
        shards,
        entry.get("segmenter", "whitespace"),
        entry.get("held_out", 0),
        CountOutputs(*(Path(snakemake.output[name]) for name in ("words", "counted", "held_out"))),
        Path(snakemake.params.shards),
        snakemake.threads,
        throttled(log),
    )
