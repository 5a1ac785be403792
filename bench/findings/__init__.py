"""Findings of the documentation: runs that are kept, and the pages written from them.

- `keep`: takes a finished results folder into docs/findings/runs.
- `kept_run`: numbers of a kept run.
- `statements`: sentences and tables that pages are made of.
- `pages`: writes README.md's results, docs/findings/*.md and their figures.
"""
