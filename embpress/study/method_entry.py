"""Entries under `methods:`, and the variants that they define. Imports no torch."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Discriminator, Field, Tag

from .. import methods
from ..errors import UserError
from ..methods._code_options import CodeOptions
from .fields import Frozen, Ratio, Ratios, Strings, nearest
from .layer_kinds import ALL, EMBEDDING, KINDS

PRESETS = Path(__file__).parent / "presets"
"""Entries that `preset:` names, one YAML file each."""
SENSITIVITIES = ("fisher", "l1_sensitivity")
"""Weightings of rows that are measured on the model."""

OptionValue = (
    str | int | float | bool | Annotated[tuple[str | int | float | bool, ...], Field(strict=False)]
)
Options = dict[str, OptionValue]
Setting = Literal["best", "published"]


class RatioOptions(Frozen):
    """Options that replace others at some ratios."""

    ratios: Ratios
    options: Annotated[Options, Field(min_length=1)]


class KindEntry(Frozen):
    """What is different for the matrices of one kind."""

    method: str | None = None
    options: Options = {}
    ratio: Ratio | None = Field(default=None, description="Ratio of each matrix of the kind.")


def _form(value: object) -> str:
    """Which branch of `Modules` a value belongs to."""
    if isinstance(value, str):
        return "a word"
    return "a mapping" if isinstance(value, dict) else "a list"


Modules = Annotated[
    Annotated[Literal["all"], Tag("a word")]
    | Annotated[Strings, Tag("a list")]
    | Annotated[dict[str, KindEntry | None], Field(min_length=1), Tag("a mapping")],
    Discriminator(_form),
]


class MethodEntry(Frozen):
    """A row of the tables. Two entries may run one method with different options."""

    method: str | None = Field(
        default=None,
        description="A file in embpress/methods, or its alias; the default is the entry's name.",
    )
    label: str | None = Field(
        default=None, description="Name in tables and plots; the default is the method's own."
    )
    options: Options = Field(default={}, description="Options of the method.")
    options_at: Annotated[tuple[RatioOptions, ...], Field(strict=False)] = Field(
        default=(),
        description="Options that replace some of `options` at some ratios, as the best precision "
        "of factors depends on the ratio. Only without `modules`.",
    )
    setting: Setting = Field(
        default="best",
        description="published: precision, weights and training of the paper or of its authors' "
        "code. best: what serves the method best at equal bits. Main table, figures and report "
        "show rows of the setting best; tables of one paper show both.",
    )
    ratios: Ratios | None = Field(default=None, description="Replaces the study's `ratios`.")
    modules: Modules | None = Field(
        default=None,
        description="Kinds of weight matrices to compress, if not the embedding alone: a list, or "
        "a mapping with what is different for a kind. A kind's own ratio is the ratio of each of "
        "its matrices; the others share what is left of the budget. all: every matrix of the "
        "model in one code by ectcq, calibrated on training texts; ratios are of the model.",
    )
    preset: str | None = Field(
        default=None,
        description="A file in embpress/study/presets that gives method, options and modules.",
    )
    budget: Literal["modules", "model"] = Field(
        default="modules",
        description="What ratios refer to: the compressed matrices together, or the whole model.",
    )
    share: Literal["separate", "layers"] = Field(
        default="separate",
        description="layers: the matrices of a kind in all layers are stacked and coded as one.",
    )

    @property
    def compresses_layers(self) -> bool:
        """Whether the entry names the matrices to compress; without, it is the embedding."""
        return self.modules is not None or self.preset is not None

    def with_preset(self, name: str) -> "MethodEntry":
        """This entry and what its preset says; what the entry says itself takes precedence.

        Raises:
            UserError: if there is no such preset.
        """
        if self.preset is None:
            return self
        known = [path.stem for path in PRESETS.glob("*.yaml")]
        if self.preset not in known:
            hint = nearest(self.preset, known)
            raise UserError(f"methods.{name}: there is no preset {self.preset!r}{hint}")
        preset = yaml.safe_load((PRESETS / f"{self.preset}.yaml").read_text(encoding="utf-8"))
        own = self.model_dump(exclude_unset=True, exclude={"preset"})
        return MethodEntry.model_validate(preset | own)


class MatrixSpec(Frozen):
    """How the weight matrices of one kind are compressed."""

    kind: str = Field(description="One of layer_kinds.KINDS, or layer_kinds.ALL.")
    method: str = Field(description="Name of a method's file.")
    options: Options = {}
    ratio: Ratio | None = Field(
        default=None,
        description="Ratio of each matrix; without, the matrices share what the budget leaves.",
    )

    @property
    def sensitivity(self) -> str | None:
        """The measured sensitivity that weights the rows, if one does."""
        weighting = self.options.get("weighting")
        return str(weighting) if weighting in SENSITIVITIES else None


class FitSettings(Frozen):
    """What decides the result of a fit, besides the checkpoint, the ratio and the seed."""

    method: str = Field(description="Name of the method's file.")
    matrices: Annotated[tuple[MatrixSpec, ...], Field(strict=False, min_length=1)]
    compresses_layers: bool
    budget: Literal["modules", "model"]
    share: Literal["separate", "layers"]

    @property
    def methods(self) -> list[str]:
        """Names of all methods that are run, sorted."""
        return sorted({choice.method for choice in self.matrices})

    @property
    def codes_whole_model(self) -> bool:
        """Whether all matrices of the model are coded at once."""
        return self.matrices[0].kind == ALL

    @property
    def is_calibrated(self) -> bool:
        """Whether a code of all matrices reads moments of calibration texts."""
        options = self.matrices[0].options
        return self.codes_whole_model and CodeOptions.parse(options).calibration

    @property
    def trims_vocabulary(self) -> bool:
        """Whether the tokenizer is trimmed with the embedding, so that texts have other tokens."""
        return methods.TRIMMING in self.methods

    @property
    def needs_sensitivity(self) -> bool:
        """Whether rows are weighted by a sensitivity that is measured on the model."""
        return any(choice.sensitivity for choice in self.matrices)

    @property
    def draws(self) -> bool:
        """Whether a fit may depend on the seed."""
        measured = self.needs_sensitivity or self.is_calibrated
        return measured or any(methods.draws(name) for name in self.methods)


class Variant(FitSettings):
    """A method with its options and ratios: what one row of the tables compares."""

    name: str
    label: str | None
    setting: Setting
    ratios: Ratios
    options_at: tuple[RatioOptions, ...]

    @property
    def is_control(self) -> bool:
        """Whether the method is a control, which has no ratio."""
        return self.method in methods.controls()

    def fit_settings(self, ratio: float) -> FitSettings:
        """The part that a fit at a ratio depends on; a new label does not change it."""
        settings = {name: getattr(self, name) for name in FitSettings.model_fields}
        own = [at.options for at in self.options_at if ratio in at.ratios]
        if own:
            (spec,) = self.matrices
            options = {**spec.options, **own[0]}
            settings["matrices"] = (spec.model_copy(update={"options": options}),)
        return FitSettings(**settings)


def resolve_variant(name: str, entry: MethodEntry, ratios: tuple[float, ...]) -> Variant:
    """The variant of an entry.

    Args:
        name: key of the entry.
        entry: as the config has it.
        ratios: ratios of the study.

    Raises:
        UserError: if the entry names an unknown method, preset or kind of matrix.
    """
    entry = entry.with_preset(name)
    method = _method_name(name, entry.method or name)
    is_control = method in methods.controls()
    budget = "model" if entry.modules == ALL else entry.budget
    return Variant(
        name=name,
        label=entry.label,
        setting=entry.setting,
        method=method,
        ratios=(1,) if is_control else entry.ratios or ratios,
        options_at=entry.options_at,
        matrices=_matrix_specs(name, entry, method),
        compresses_layers=entry.compresses_layers,
        budget=budget,
        share=entry.share,
    )


def _method_name(entry: str, method: str) -> str:
    """Name of a method's file, from its name or alias."""
    known = [*methods.names(), *methods.aliases(), methods.TRIMMING]
    if method not in known:
        raise UserError(f"methods.{entry}: there is no method {method!r}{nearest(method, known)}")
    return method if method == methods.TRIMMING else methods.resolve_name(method)


def _matrix_specs(name: str, entry: MethodEntry, method: str) -> tuple[MatrixSpec, ...]:
    """One choice for each kind of matrix, in the order of KINDS."""
    if entry.modules is None:
        return (MatrixSpec(kind=EMBEDDING, method=method, options=entry.options),)
    if entry.modules == ALL:
        if method != methods.WHOLE_MODELS:
            raise UserError(
                f"methods.{name}: `modules: {ALL}` is one code of all matrices by "
                f"{methods.WHOLE_MODELS}; for {method} list the kinds of matrices"
            )
        return (MatrixSpec(kind=ALL, method=method, options=entry.options),)
    given = entry.modules if isinstance(entry.modules, dict) else dict.fromkeys(entry.modules)
    unknown = next((kind for kind in given if kind not in KINDS), None)
    if unknown is not None:
        known = ", ".join(KINDS)
        raise UserError(f"methods.{name}.modules: there is no kind {unknown!r}; there are {known}")
    choices = []
    for kind in (kind for kind in KINDS if kind in given):
        own = given[kind] or KindEntry()
        own_method = _method_name(name, own.method) if own.method else method
        # Options belong to a method: another method does not inherit them.
        inherited = entry.options if own_method == method else {}
        options = inherited | own.options
        choices.append(MatrixSpec(kind=kind, method=own_method, options=options, ratio=own.ratio))
    return tuple(choices)
