"""Rows out of SQuAD v1.1's JSON.

Articles hold paragraphs, which hold a context and its questions with their answers.
"""

import json
from collections.abc import Iterator
from typing import Any

from ..errors import UserError

COLUMNS = ("id", "title", "context", "question", "answers")
"""What a row holds; `answers` as JSON, as the hub's copy of the data has it: {"text".

[...], "answer_start": [...]}.
"""


def questions(text: str, name: str) -> Iterator[dict[str, str]]:
    """One row a question, by COLUMNS.

    Args:
        text: of the whole file.
        name: the file's name, for errors.

    Raises:
        UserError: if the file is not of this format; with the article and paragraph, or the
            question, at fault.
    """
    try:
        file = json.loads(text)
    except ValueError as error:
        raise UserError(f"{name}: not JSON ({error}): is `data.format` right?") from error
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


def _member(holder: Any, key: str, kind: type, where: str) -> Any:
    """A value of a JSON object, of its right type."""
    if not isinstance(holder, dict) or not isinstance(holder.get(key), kind):
        raise UserError(f"{where}: no {key!r} of SQuAD's format: is `data.format` right?")
    return holder[key]
