"""Packages, the hub, tables, corpora, and counts of words and tokens."""
