"""Where the results of a study are, and which of them stand for several seeds."""

from pathlib import Path

from embpress.study.folders import evaluated_artefacts, outcomes_file
from embpress.study.protocols import resolve_students

from ..pipeline.entries import classification, language_modelling
from ..studies import make_study

STUDY = make_study(
    seeds=[3, 4],
    methods={
        "identity": {},
        "svd": {},
        "signs": {},
        "weighted": {"method": "b23", "options": {"weighting": "fisher"}},
        "whole": {"method": "ectcq", "modules": "all"},
    },
    tasks=resolve_students(
        {
            "wiki": language_modelling(),
            "tuned": classification(),
            "student": {
                "label": "y",
                "protocol": "compress_then_finetune",
                "checkpoint": "tuned",
            },
        }
    ),
)


def seeds(task, variant):
    """Seeds of the folders and files in which results for the seed 4 are."""
    artefact = evaluated_artefacts(STUDY, task, variant, 4)[0]
    file = outcomes_file(STUDY, task, variant, 4)
    assert artefact.folder.parts[-3] == file.parent.name
    return artefact.seed


def test_what_depends_on_no_seed_is_computed_once():
    assert seeds("wiki", "svd") == seeds("wiki", "identity") == 3


def test_fits_that_draw_and_trained_models_have_a_result_for_each_seed():
    assert [seeds("wiki", variant) for variant in ("signs", "weighted", "whole")] == [4, 4, 4]
    assert [seeds(task, "svd") for task in ("tuned", "student")] == [4, 4]


def test_students_start_from_the_one_fit_of_a_pretrained_model():
    assert STUDY.fit_seed("m", "svd", 4) == 3
    assert STUDY.fit_seed("tuned", "svd", 4) == STUDY.fit_seed("m", "signs", 4) == 4


def test_files_are_below_the_folder_of_results():
    assert outcomes_file(STUDY, "wiki", "svd", 4, Path("a")).parts[:2] == ("a", "evaluation")
