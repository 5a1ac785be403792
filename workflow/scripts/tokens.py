"""Rule tokens."""

from pathlib import Path

from job import run

with run(snakemake) as log:
    from transformers import AutoTokenizer

    from embpress.checkpoints import card
    from embpress.frequency import count_tokens, write_counts
    from embpress.words import read_words

    model = Path(snakemake.input.model)
    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    counts = count_tokens(read_words(Path(snakemake.input.words)), tokenizer, card(model)["shape"][0])
    log.info("%d tokens, %d of %d rows seen", int(counts.sum()), int((counts > 0).sum()), len(counts))
    write_counts(counts, Path(snakemake.output[0]))
