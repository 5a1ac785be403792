"""The typed config of a study: models, corpora, tasks, methods, ratios and seeds. Imports no torch."""
