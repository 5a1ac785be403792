"""The typed config of a study: models, corpora, tasks, methods and ratios. Imports no torch."""
