"""Words and tokens of corpora, counted."""
