"""Rule streamed_words."""

from pathlib import Path

from job import run, throttled

with run(snakemake) as log:
    from embpress.data.corpus_counts import CountOutputs, CountSettings, count_corpus
    from embpress.data.shards import list_shards
    from embpress.data.words import RUN_WORDS

    entry = snakemake.params.entry
    shards = list_shards(Path(snakemake.input.folder), entry.get("column", "text"))
    log.info("%d shards", len(shards))
    outputs = (Path(snakemake.output[name]) for name in ("words", "counted", "held_out"))
    count_corpus(
        shards,
        CountSettings(entry.get("segmenter") or RUN_WORDS, entry.get("held_out", 0)),
        CountOutputs(*outputs),
        Path(snakemake.params.shards),
        snakemake.threads,
        throttled(log),
    )
