"""Tables of scores and of what predicts them: LaTeX for papers, plain text for the terminal."""

from .latex import latex_document, main_table, task_table
from .predictors import predictors_table, predictors_text
from .text import text_table

__all__ = ["latex_document", "main_table", "predictors_table", "predictors_text", "task_table", "text_table"]
