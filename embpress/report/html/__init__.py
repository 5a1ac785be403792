"""One HTML page that shows a study: recommendations, figures, tables and provenance."""

from .page import ReportInputs, render_report

__all__ = ["ReportInputs", "render_report"]
