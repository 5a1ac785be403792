"""Running text: a list of texts out of the formats that packages and users have."""

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
    """Articles of a bz2-compressed MediaWiki XML dump as plain paragraphs, markup removed;
    redirects are left out.

    Raises:
        UserError: if it is no whole dump.
    """
    try:
        for _, element in ElementTree.iterparse(io.BytesIO(bz2.decompress(dump))):
            if element.tag.endswith("}text") or element.tag == "text":
                source = element.text or ""
                if source and not source.lower().startswith("#redirect"):
                    yield plain_text(source)
            # Parsed elements would otherwise pile up: a real dump is larger than memory.
            element.clear()
    except (OSError, ValueError, ElementTree.ParseError) as error:  # the first two are bz2's
        raise UserError(
            f"the dump is no whole bz2 file of MediaWiki XML ({error}): check the corpus's `path`"
        ) from error


def plain_text(source: str) -> str:
    """MediaWiki source as plain text.

    One paragraph a line, without tables, templates, references, files and headings.
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
    # Prose only: headings, lists, indented lines and left-over table rows are not sentences.
    return "\n".join(
        line for line in lines if len(line.split()) >= 8 and line[0] not in "=*#:;|!{}["
    )


def translations(wheels: list[Path], language: str) -> dict[str, str]:
    """Source and translated messages of all compiled gettext catalogues for a language, first
    translation kept.

    Raises:
        UserError: if the wheels hold no catalogue for the language, or one that cannot be read.
    """
    pattern = re.compile(rf"(^|/){language}(_[A-Z]{{2}})?/LC_MESSAGES/[^/]+\.mo$")
    found: dict[str, str] = {}
    for wheel in wheels:
        for member in sorted(filter(pattern.search, packages.members(wheel))):
            try:
                catalogue = gettext.GNUTranslations(io.BytesIO(packages.read(wheel, member)))
            except (OSError, ValueError, struct.error) as error:
                raise UserError(
                    f"{wheel.name}: {member} is no gettext catalogue ({error}): check the package"
                ) from error
            for key, translation in catalogue._catalog.items():  # type: ignore[attr-defined]
                message = (
                    key[0] if isinstance(key, tuple) else key
                )  # plural forms have (message, number) as key
                # A message may carry its context before an EOT character.
                source = " ".join(message.split("\x04")[-1].split())
                if source and translation.strip():
                    found.setdefault(source, " ".join(translation.split()))
    if not found:
        raise UserError(
            f"no gettext catalogue for {language!r} in {', '.join(w.name for w in wheels)}"
        )
    return found


def interface_texts(wheels: list[Path], language: str) -> list[str]:
    """Both sides of all translated messages.

    Sources that are mere identifiers (no space) are left out.
    """
    pairs = translations(wheels, language)
    return sorted(
        {s for s in pairs if " " in s}
        | {t for t in pairs.values() if JAPANESE.search(t) or language != "ja"}
    )


def split(texts: list[str], held_out: float) -> tuple[list[str], list[str]]:
    """Counted and held-out texts: every n-th text is held out, so that both spread over the whole
    corpus.

    Raises:
        UserError: if there are none.
    """
    if not texts:
        raise UserError("the corpus holds no text: check its entry under `corpora:`")
    if not held_out:
        return texts, []
    step = max(2, round(1 / held_out))
    return [t for i, t in enumerate(texts) if i % step], texts[::step]
