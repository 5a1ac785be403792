"""Transformers models: load them, find and replace their weight matrices, tokenizers, sensitivity."""
