"""Transformers models: load them, find and replace their matrices, tokenizers, sensitivity."""
