"""Compress, load and inspect a model of your own, and rank methods at a size."""
