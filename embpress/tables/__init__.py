"""Tables of scores and of verdicts on claims: LaTeX for papers, plain text for the terminal."""

from .claims import claims_table, claims_text
from .latex import latex_document, main_table, task_table
from .text import text_table

__all__ = ["claims_table", "claims_text", "latex_document", "main_table", "task_table", "text_table"]
