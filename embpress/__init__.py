"""embpress: compress the token embeddings of language models, and measure what that costs."""

__version__ = "0.1.0"
