"""Rule words."""

from pathlib import Path

from job import run

with run(snakemake) as log:
    from embpress.data.texts import read_texts
    from embpress.data.words import count_words, write_words

    words = count_words(read_texts(Path(snakemake.input[0])), snakemake.params.segmenter)
    log.info("%d words, %d different ones", words.total(), len(words))
    write_words(words, Path(snakemake.output[0]))
