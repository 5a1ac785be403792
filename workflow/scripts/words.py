"""Rule words."""

from pathlib import Path

from job import run

with run(snakemake) as log:
    from embpress.data.texts import read_texts
    from embpress.data.words import PARAGRAPH, RUN_WORDS, count_words, write_words

    segmenter = snakemake.params.segmenter or RUN_WORDS
    words = count_words(read_texts(Path(snakemake.input[0])), segmenter)
    log.info("%d paragraphs, %d different words", words[PARAGRAPH], len(words) - 1)
    write_words(words, Path(snakemake.output[0]))
