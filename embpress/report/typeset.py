"""LaTeX to PDF with pdflatex and bibtex, and what is wrong with the result."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from ..errors import UserError

PACKAGES = "texlive-latex-base, texlive-latex-recommended and texlive-science"
SECONDS = 300
"""A run takes a second; one that takes minutes hangs."""
PROBLEMS = re.compile(
    r"^(Overfull \\[hv]box.*|LaTeX Warning: (?:Citation|Reference|Label).*"
    r"|LaTeX Warning: There were (?:undefined|multiply).*|Warning--.*|.*too large for page.*)$",
    re.MULTILINE,
)


def typeset(document: Path) -> list[str]:
    """Make the PDF of a .tex file beside it; its bibliography is read from .bib files in the same
    folder.

    Returns:
        Problems that did not stop it: what stands over the margin, undefined references and
        citations.

    Raises:
        UserError: if pdflatex or bibtex is missing, or stops at an error; a figure that is missing
            is one.
    """
    for program in ("pdflatex", "bibtex"):
        if shutil.which(program) is None:
            raise UserError(
                f"{program} is not installed: install {PACKAGES} (Debian's names), then run again"
            )
    _pdflatex(document)
    warnings = (
        _bibtex(document)
        if r"\bibdata" in document.with_suffix(".aux").read_text(encoding="utf-8")
        else []
    )
    # References and lists of tables need one run to be written and one to be read.
    _pdflatex(document)
    return warnings + PROBLEMS.findall(_pdflatex(document))


def _bibtex(document: Path) -> list[str]:
    """Make the bibliography; what it warns of."""
    done = _run(["bibtex", document.stem], document.parent)
    if done.returncode > 1:  # 1: warnings
        raise UserError(
            f"bibtex stopped at the bibliography of {document}: {' '.join(done.stdout.split())[-500:]}"
        )
    return PROBLEMS.findall(done.stdout)


def _pdflatex(document: Path) -> str:
    """One run; what it printed."""
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
    """Run a program of TeX in a folder, with its lines unbroken."""
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
