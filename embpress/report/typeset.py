"""Typeset LaTeX as PDF with pdflatex and bibtex, and report problems of the result."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from ..errors import UserError

PACKAGES = "texlive-latex-base, texlive-latex-recommended and texlive-science"
SECONDS = 300
"""Timeout of one run, which usually takes a second."""
PROBLEMS = re.compile(
    r"^(Overfull \\[hv]box.*|LaTeX Warning: (?:Citation|Reference|Label).*"
    r"|LaTeX Warning: There were (?:undefined|multiply).*|Warning--.*|.*too large for page.*)$",
    re.MULTILINE,
)


def typeset(document: Path) -> list[str]:
    """Write the PDF of a .tex file beside it; its .bib files must be in the same folder.

    Returns:
        Warnings about lines and tables that are too wide, undefined references and citations.

    Raises:
        UserError: if pdflatex or bibtex is missing or stops at an error, for instance at a missing
            figure.
    """
    for program in ("pdflatex", "bibtex"):
        if shutil.which(program) is None:
            raise UserError(
                f"{program} is not installed: install {PACKAGES} (names of Debian packages)"
            )
    _pdflatex(document)
    warnings = (
        _bibtex(document)
        if r"\bibdata" in document.with_suffix(".aux").read_text(encoding="utf-8")
        else []
    )
    # References and lists of tables are written in one run and read in the next.
    _pdflatex(document)
    return warnings + PROBLEMS.findall(_pdflatex(document))


def _bibtex(document: Path) -> list[str]:
    """Write the bibliography; return its warnings."""
    done = _run(["bibtex", document.stem], document.parent)
    if done.returncode > 1:  # 1: warnings
        message = " ".join(done.stdout.split())[-500:]
        raise UserError(f"bibtex stopped at the bibliography of {document}: {message}")
    return PROBLEMS.findall(done.stdout)


def _pdflatex(document: Path) -> str:
    """Run pdflatex once; return what it printed."""
    command = [
        "pdflatex",
        "-interaction=nonstopmode",
        "-halt-on-error",
        "-no-shell-escape",
        document.name,
    ]
    done = _run(command, document.parent)
    if done.returncode != 0:
        error = re.search(r"^! .*(?:\n(?!l\.).*)*(?:\nl\.\d+.*)?", done.stdout, re.MULTILINE)
        what = " ".join((error[0] if error else done.stdout[-300:]).split())[:500]
        raise UserError(f"pdflatex stopped at {document}: {what}")
    return done.stdout


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a TeX program in a folder without line breaks in its output."""
    environment = os.environ | {"max_print_line": "1000"}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS,
    )
