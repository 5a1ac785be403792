"""Read rows from the JSON of SQuAD v1.1 (Rajpurkar et al., EMNLP 2016).

Articles contain paragraphs; a paragraph contains a context and questions with their answers.
"""

import json
from collections.abc import Iterator
from typing import Any

from ..errors import UserError

SQUAD_COLUMNS = ("id", "title", "context", "question", "answers")
"""Columns of a row. `answers` is JSON as in the Hugging Face hub's copy of the data:
{"text": [...], "answer_start": [...]}."""


def questions(text: str, name: str) -> Iterator[dict[str, str]]:
    """One row per question, with SQUAD_COLUMNS.

    Args:
        text: content of the file.
        name: the file's name, for errors.

    Raises:
        UserError: if the file is not of this format, with the article and paragraph or the
            question.
    """
    try:
        file = json.loads(text)
    except ValueError as error:
        raise UserError(f"{name}: not JSON ({error}): check `data.format`") from error
    for i, article in enumerate(_member(file, "data", list, name)):
        where = f"{name}, article {i + 1}"
        for j, paragraph in enumerate(_member(article, "paragraphs", list, where)):
            place = f"{where} ({article.get('title', 'without title')}), paragraph {j + 1}"
            context = _member(paragraph, "context", str, place)
            for k, question in enumerate(_member(paragraph, "qas", list, place)):
                key = _member(question, "id", str, f"{place}, question {k + 1}")
                place_of_answers = f"{name}, question {key}"
                answers = _member(question, "answers", list, place_of_answers)
                columns = {
                    "text": [_member(answer, "text", str, place_of_answers) for answer in answers],
                    "answer_start": [
                        _member(answer, "answer_start", int, place_of_answers) for answer in answers
                    ],
                }
                yield {
                    "id": key,
                    "title": str(article.get("title", i)),
                    "context": context,
                    "question": _member(question, "question", str, place_of_answers),
                    "answers": json.dumps(columns, ensure_ascii=False),
                }


def _member(value: object, key: str, expected_type: type, where: str) -> Any:
    """The value of a key of a JSON object, after checking its type."""
    if not isinstance(value, dict) or not isinstance(value.get(key), expected_type):
        raise UserError(f"{where}: no {key!r} of SQuAD's format: check the file and `data.format`")
    return value[key]
