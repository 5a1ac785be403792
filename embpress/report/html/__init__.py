"""One HTML file that shows a study.

Which method for which budget, figures, tables, and where all of it comes from.
"""

from .page import Inputs, render

__all__ = ["Inputs", "render"]
