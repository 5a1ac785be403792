"""Tables of scores, sizes and what predicts them: LaTeX for papers, plain text for the terminal."""

from .ablations import ablations_table
from .latex import latex_document, main_table, task_table
from .papers import paper_table
from .predictors import predictors_table, predictors_text
from .search import search_table, search_text
from .sizes import read_sizes, sizes_table
from .speed import speed_table
from .text import text_table
from .whole_model import read_modules, whole_model_table, whole_model_text

__all__ = [
    "ablations_table",
    "latex_document",
    "main_table",
    "paper_table",
    "predictors_table",
    "predictors_text",
    "read_modules",
    "read_sizes",
    "search_table",
    "search_text",
    "sizes_table",
    "speed_table",
    "task_table",
    "text_table",
    "whole_model_table",
    "whole_model_text",
]
