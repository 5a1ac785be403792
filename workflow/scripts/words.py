"""Rule words."""

from pathlib import Path

from job import run

with run(snakemake) as log:
    from embpress.counting.words import count_words, write_words
    from embpress.sources.texts import read_texts

    words = count_words(read_texts(Path(snakemake.input[0])), snakemake.params.segmenter)
    log.info("%d words, %d different ones", words.total(), len(words))
    write_words(words, Path(snakemake.output[0]))
