"""LaTeX, text and HTML tables, figures, the HTML report and the paper."""
