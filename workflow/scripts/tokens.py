"""Rule tokens."""

from pathlib import Path

from job import counted_corpus, run

with run(snakemake) as log:
    from embpress.data.corpus_tokens import count_corpus_tokens, special_tokens_per_input
    from embpress.data.token_counts import write_counts
    from embpress.models.checkpoints import read_metadata
    from embpress.models.tokenization import find_input_length, load_tokenizer

    model = Path(snakemake.input.model)
    tokenizer = load_tokenizer(model)
    corpus = counted_corpus(snakemake, snakemake.wildcards.corpus)
    n_rows = read_metadata(model)["shape"][0]
    counts, segmentation, n_inputs = count_corpus_tokens(
        corpus, tokenizer, n_rows, find_input_length(model, tokenizer)
    )
    log.info("%d tokens, %d of %d rows seen", int(counts.sum()), int((counts > 0).sum()), n_rows)
    log.info(
        "words cut by %s: %.4f %% of the counts of a sample differ from whole texts",
        segmentation.segmenter,
        100 * segmentation.difference,
    )
    special = special_tokens_per_input(tokenizer).elements()
    log.info("%d inputs, each with %s", n_inputs, tokenizer.convert_ids_to_tokens(list(special)))
    write_counts(counts, Path(snakemake.output[0]))
