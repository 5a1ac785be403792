"""Tables of scores: LaTeX for papers, plain text for the terminal."""

from .latex import latex_document, main_table, task_table
from .text import text_table

__all__ = ["latex_document", "main_table", "task_table", "text_table"]
