"""Tables of a study: one function builds each table, and three functions print any of them."""

from .ablations import ablations_table
from .claims import claims_overview, claims_table
from .counts import counts_table
from .html import to_html
from .jobs import jobs_table, rules_table
from .latex import latex_document, to_latex
from .papers import paper_tables, published_table
from .predictors import predictors_table
from .protocols import protocol_tables
from .scores import average_table, errors_table, every_metric_table, main_table, task_table
from .search import search_table
from .sizes import read_sizes, stored_table, tensors_table, weights_table
from .speed import speed_table
from .table import Table
from .text import to_text
from .whole_model import read_modules, whole_model_table

__all__ = [
    "Table",
    "ablations_table",
    "average_table",
    "claims_overview",
    "claims_table",
    "counts_table",
    "errors_table",
    "every_metric_table",
    "jobs_table",
    "latex_document",
    "main_table",
    "paper_tables",
    "predictors_table",
    "protocol_tables",
    "published_table",
    "read_modules",
    "read_sizes",
    "rules_table",
    "search_table",
    "speed_table",
    "stored_table",
    "task_table",
    "tensors_table",
    "to_html",
    "to_latex",
    "to_text",
    "weights_table",
    "whole_model_table",
]
