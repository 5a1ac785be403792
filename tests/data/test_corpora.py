import bz2
import io
import struct
import zipfile

import pytest

from embpress.data import corpora
from embpress.data.texts import read_texts, write_texts
from embpress.errors import UserError

PAGE = """<mediawiki xmlns="http://x/"><page><revision><text>{}</text></revision></page>
<page><revision><text>#REDIRECT [[Other page about nothing at all in here]]</text></revision></page>
</mediawiki>"""
PROSE = "A cat is a small animal that lives with people in many houses."


def compiled_catalogue(messages):
    """A .mo file as msgfmt makes it, without its hash table."""
    messages = {
        "": "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=1; plural=0;\n",
        **messages,
    }
    keys = sorted(messages)
    data = b""
    tables = []
    start = 28 + 16 * len(keys)
    for strings in (keys, [messages[k] for k in keys]):
        for text in strings:
            raw = text.encode()
            tables.append(struct.pack("<2I", len(raw), start + len(data)))
            data += raw + b"\0"
    header = struct.pack("<7I", 0x950412DE, 0, len(keys), 28, 28 + 8 * len(keys), 0, 0)
    return header + b"".join(tables) + data


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "p.whl"
    with zipfile.ZipFile(path, "w") as archive:
        messages = {
            "Delete the file": "ファイルを削除",
            "menu\x04Open file": "ファイルを開く",
            "id_only": "識別子",
        }
        archive.writestr("pkg/locale/ja_JP/LC_MESSAGES/x.mo", compiled_catalogue(messages))
        archive.writestr(
            "pkg/locale/de/LC_MESSAGES/x.mo", compiled_catalogue({"Delete the file": "Löschen"})
        )
    return path


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        (PROSE, PROSE),
        (
            "A [[cat]] is a [[animal|small animal]] that '''lives''' with people in many "
            "[http://x houses].",
            PROSE,
        ),
        (PROSE + "<ref name=a>Book {{cite}}</ref>{{Infobox {{nested}} | x = y}}", PROSE),
        (
            "== Heading of a section that is quite long indeed ==\n"
            "* a list item that is also quite long here\n" + PROSE,
            PROSE,
        ),
        (
            "{| class=x\n| a table with many words that would otherwise be taken for prose\n|}\n"
            + PROSE,
            PROSE,
        ),
        ("[[File:x.jpg|thumb|A [[cat]] and a long caption that nobody needs here]]" + PROSE, PROSE),
        ("too short", ""),
    ],
)
def test_markup_is_removed(source, plain):
    assert corpora.plain_text(source) == plain


def test_dump_gives_articles_without_redirects():
    dump = bz2.compress(PAGE.format(PROSE).encode())
    assert list(corpora.wikipedia(dump)) == [PROSE]


def test_translations_of_one_language_with_context_removed(wheel):
    pairs = corpora.translations([wheel], "ja")
    assert pairs == {
        "Delete the file": "ファイルを削除",
        "Open file": "ファイルを開く",
        "id_only": "識別子",
    }


def test_interface_texts_leave_identifiers_out(wheel):
    texts = corpora.interface_texts([wheel], "ja")
    assert texts == sorted(
        ["Delete the file", "Open file", "ファイルを削除", "ファイルを開く", "識別子"]
    )


def test_missing_language_is_named(wheel):
    with pytest.raises(UserError, match="no gettext catalog for 'ko' in p.whl"):
        corpora.translations([wheel], "ko")


def test_split_holds_out_the_share_and_loses_nothing():
    texts = [str(i) for i in range(100)]
    counted, held_out = corpora.split_held_out(texts, 0.1)
    assert len(held_out) == 10 and sorted(counted + held_out) == sorted(texts)
    assert corpora.split_held_out(texts, 0) == (texts, [])
    with pytest.raises(UserError, match="no text.*`corpora:`"):
        corpora.split_held_out([], 0.1)


def test_texts_round_trip_with_line_ends(tmp_path):
    texts = ["one\ntwo", "three\u2028four", '"quoted" \\ back']
    write_texts(texts, tmp_path / "t.jsonl")
    assert read_texts(tmp_path / "t.jsonl") == texts


def test_catalogue_maker_is_sound():
    import gettext

    catalogue = gettext.GNUTranslations(io.BytesIO(compiled_catalogue({"a": "b"})))
    assert catalogue.gettext("a") == "b"
