"""The commands of `embpress`, one a file: each adds its options to a parser, and runs.

torch and transformers take seconds to import: `run_...` imports them, `--help` does not.
"""
