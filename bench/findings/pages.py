"""Write the pages of findings from the kept runs, without fitting anything.

    python -m bench.findings.pages

Each `docs/findings/templates/NAME.md.j2` is the source of docs/findings/NAME.md, and
README.results.md.j2 that of the block of README.md between its two markers; a block of
docs/README.md lists the pages. A template gets
`study(name)`, the `Statements` of a kept run, and `is_kept(name)`. A page whose run is not kept
stays as it is. The figures of docs/figures/ carry the digest of the tables that they show.
"""

import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image

from embpress.analysis.protocols import compare_protocols
from embpress.analysis.published import published_models, read_published
from embpress.files import partial_file, write_text
from embpress.report import plots
from embpress.report.plots.style import styled

from ..common import parser
from .kept_run import KeptRun, NotKept
from .statements import Statements

README = "README.results"
BEGIN = "<!-- begin: written by `make findings` -->"
END = "<!-- end -->"
HEADER = "<!-- Written by `make findings` from templates/{name}.md.j2 and runs/: change those. -->"
WIDTH = 132
"""Characters in a line of a written page."""
PUBLISHED = Path("workflow/resources/published.csv")
"""Cells of the papers' tables."""
DIGEST = "Digest of data"
"""Key of a figure's metadata."""


def _retention(run: KeptRun) -> Figure:
    """Retention by ratio, a panel a task."""
    return plots.retention_by_ratio(run.best_scores, run.best)


def _whole_models(run: KeptRun) -> Figure:
    """Retention of whole models, beside those of papers."""
    published = published_models(read_published(PUBLISHED))
    return plots.retention_of_layers(run.best_scores, run.best, run.modules, published)


FIGURES: dict[str, tuple[str, Callable[[KeptRun], Figure]]] = {
    "retention.png": ("default", _retention),
    "error_vs_ratio.png": (
        "default",
        lambda run: plots.error_vs_ratio(run.best_scores, run.bounds, run.best),
    ),
    "whole_models.png": ("default", _whole_models),
    "whole_models_by_task.png": ("whole_model", _whole_models),
    "shared_data.png": ("shared-data", _retention),
    "protocols.png": (
        "protocols",
        lambda run: plots.retention_by_protocol(
            compare_protocols(run.best_scores, run.best), run.best
        ),
    ),
}
"""Figures by file name: the run that they show, and how they are drawn."""


class Findings:
    """Pages and figures of a repository."""

    def __init__(self, root: Path) -> None:
        """Find the templates and runs of the repository at `root`."""
        self.root = root
        self.templates = root / "docs/findings/templates"
        self.runs = root / "docs/findings/runs"
        self.run = cache(lambda name: KeptRun(self.runs / name))
        self._environment = Environment(
            loader=FileSystemLoader(self.templates),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._environment.globals["study"] = lambda name: Statements(self.run(name))
        self._environment.globals["is_kept"] = self.is_kept

    def is_kept(self, name: str) -> bool:
        """Whether a study has a kept run."""
        return (self.runs / name / "run.json").exists()

    def pages(self) -> Iterator[tuple[Path, str]]:
        """Path and text of each page whose runs are kept, and of the index of the documentation."""
        titles = {page.name: _title(page.read_text(encoding="utf-8")) for page in self._on_disk()}
        for template in sorted(self.templates.glob("*.md.j2")):
            name = template.name.removesuffix(".md.j2")
            try:
                text = wrap(self._environment.get_template(template.name).render())
            except NotKept as reason:
                print(f"{name} stays as it is: {reason}")
                continue
            if name == README:
                yield _with_block(self.root / "README.md", text)
            else:
                titles[f"{name}.md"] = _title(text)
                page = self.root / f"docs/findings/{name}.md"
                yield page, f"{HEADER.format(name=name)}\n\n{text}"
        links = [f"- [{title}](findings/{name})" for name, title in sorted(titles.items())]
        yield _with_block(self.root / "docs/README.md", "\n".join(links))

    def _on_disk(self) -> list[Path]:
        return sorted((self.root / "docs/findings").glob("*.md"))

    def stale_pages(self) -> list[Path]:
        """Pages whose file differs from its template and runs."""
        return [path for path, text in self.pages() if not _holds(path, text)]

    def figures(self) -> Iterator[tuple[Path, KeptRun, Callable[[KeptRun], Figure]]]:
        """Path, run and drawing function of each figure whose run is kept."""
        for name, (study, draw) in FIGURES.items():
            if self.is_kept(study):
                yield self.root / "docs/figures" / name, self.run(study), draw

    def stale_figures(self) -> list[Path]:
        """Figures that do not carry the digest of their run's tables."""
        return [path for path, run, _ in self.figures() if digest_of(path) != run.digest]

    def write(self) -> None:
        """Write all pages, and the figures that are stale."""
        for path, text in self.pages():
            write_text(path, text)
        stale = self.stale_figures()
        for path, run, draw in self.figures():
            if path in stale:
                save_png(draw(run), path, run.digest)


def _title(text: str) -> str:
    """The first heading of a page."""
    return next(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))


def _with_block(path: Path, block: str) -> tuple[Path, str]:
    """A file and its text, in which the part between the markers is replaced."""
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    return path, f"{before}{BEGIN}\n{block.strip()}\n{END}{rest.split(END)[1]}"


def digest_of(figure: Path) -> str:
    """The digest of its data that a PNG carries; "" if none."""
    if not figure.exists():
        return ""
    with Image.open(figure) as image:
        return str(image.info.get(DIGEST, ""))


def save_png(figure: Figure, path: Path, digest: str) -> None:
    """Write a figure with the digest of its data, completely or not at all."""
    temporary = partial_file(path)
    with styled():
        figure.savefig(temporary, format="png", metadata={"Software": None, DIGEST: digest})  # type: ignore[dict-item]
    temporary.replace(path)


def wrap(text: str) -> str:
    """Markdown with paragraphs and list items in lines of at most WIDTH characters.

    Headings, tables, comments, pictures and code stay as they are.
    """
    lines: list[str] = []
    paragraph: list[str] = []
    in_code = False

    def end_paragraph() -> None:
        indent = "  " if paragraph and paragraph[0].startswith("- ") else ""
        joined = " ".join(line.strip() for line in paragraph)
        lines.extend(
            textwrap.wrap(
                joined,
                WIDTH,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
        paragraph.clear()

    for line in text.splitlines():
        is_fence = line.startswith("```")
        if line.startswith("- "):
            end_paragraph()
        if in_code or is_fence or not line.strip() or line.startswith(("#", "|", "<", "!")):
            end_paragraph()
            lines.append(line.rstrip())
        else:
            paragraph.append(line)
        in_code ^= is_fence
    end_paragraph()
    return "\n".join(lines) + "\n"


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def main() -> None:
    """Write everything."""
    parser(__doc__).parse_args()
    Findings(Path()).write()


if __name__ == "__main__":
    main()
