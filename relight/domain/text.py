"""Texts of others: made visible, and with a limit.

A host, a provider, a repository or a person may write anything. It is shown on terminals, in logs
and in browsers, so control characters become visible escapes. It has to fit into a payload and into
a row of the store, so it has a limit.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_CUT = "..."

# What begins formatting, links, images, HTML, table cells, and what is made a link by itself.
_MARKDOWN = re.compile(r"[\\`*_\[\]<>!|~&]|:(?=//)|(?<=www)\.")

_URL = re.compile(r"""https?(?::|%3A)[^\s"'<>]+""", re.IGNORECASE)
_QUERY = re.compile(r"(\?|%3F).*", re.IGNORECASE)

MAX_TEXT_BYTES = 4096
"""The limit of a text that is meant for one message of an error."""


class _Escapes(dict[int, str]):
    """What each character is shown as. Frequent ones are remembered; there are a million others."""

    _REMEMBERED = 0x3000

    def __missing__(self, code: int) -> str:
        character = chr(code)
        shown = character
        if not character.isprintable() and character not in "\n\t":
            shown = character.encode("unicode_escape").decode("ascii")
        if code < self._REMEMBERED:
            self[code] = shown
        return shown


_ESCAPES = _Escapes()


def visible(text: str) -> str:
    r"""Return a text in which every character is visible.

    Line feeds and tabs stay. Every other control character, the controls of the text's direction,
    invisible and unassigned characters become escapes, as in `\x1b` or `\u202e`. A printable text
    is returned as it is, so the result of a second call is that of the first.
    """
    text = text.replace("\r\n", "\n")
    # Nearly every text is printable: this test costs a hundredth of the translation.
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return text.translate(_ESCAPES)


def visible_head(text: str, max_bytes: int) -> str:
    """Return the beginning of a text, made visible, of at most `max_bytes` in UTF-8."""
    # Nearly every text is one of these: a write of the store asks for some twenty.
    if len(text) <= max_bytes and text.isascii() and text.isprintable():
        return text
    # No character becomes shorter: only so many can be in the result.
    return head(visible(text[: max_bytes + 1]), max_bytes)


def visible_tail(text: str, max_bytes: int) -> str:
    """Return the end of a text, made visible, of at most `max_bytes` in UTF-8."""
    return tail(visible(text[-max_bytes - 1 :]), max_bytes)


def visible_line(text: str) -> str:
    r"""Return a text as `visible` does, in one line: line feeds and tabs become `\n` and `\t`."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def without_queries(text: str) -> str:
    """Return a text without the queries of its URLs: a signature there is as good as a password."""
    return _URL.sub(lambda url: _QUERY.sub(r"\1...", url[0]), text)


def all_visible(value: Any) -> Any:
    """Return a JSON value with every text in it made visible."""
    match value:
        case str():
            return visible(value)
        case Mapping():
            return {all_visible(key): all_visible(item) for key, item in value.items()}
        case list() | tuple():
            return [all_visible(item) for item in value]
        case _:
            return value


def fitted(value: Any, max_bytes: int) -> Any:
    """Return a JSON value, made visible, whose text has at most `max_bytes`.

    If it is longer, its texts and lists are shortened until the whole fits. The first items of a
    list are kept.
    """
    # What cannot fit is cut before all else: this runs while the store is locked for a write.
    value, longest = _shortened(value, max_bytes), max_bytes
    text = json.dumps(value, default=str)
    # Nearly every value fits and is printable. A character that is not is escaped in the text.
    if len(text) <= max_bytes and "\\" not in text and text.isprintable():
        return value
    value = all_visible(value)
    size = _json_size(value)
    shown = value
    while _json_size(shown) > max_bytes and longest:
        longest //= 2
        shown = _shortened(value, longest)
    return shown if _json_size(shown) <= max_bytes else {"cut": f"{size} bytes"}


def _json_size(value: Any) -> int:
    return len(json.dumps(value, default=str))


def _shortened(value: Any, longest: int) -> Any:
    match value:
        case str():
            return head(value, max(longest, len(_CUT)))
        case Mapping():
            return {key: _shortened(item, longest) for key, item in value.items()}
        case list() | tuple():
            # An item of a list takes two bytes at least.
            return [_shortened(item, longest) for item in value[: max(longest // 2, 1)]]
        case _:
            return value


def fenced(text: str) -> str:
    """Return a text as a code block of Markdown, which it cannot end itself."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def plain(text: str) -> str:
    """Return one line for Markdown in which no character has a meaning: no link, image or HTML."""
    return _MARKDOWN.sub(r"\\\g<0>", visible_line(text))


def head(text: str, max_bytes: int) -> str:
    """Return the beginning of a text, of at most `max_bytes` in UTF-8; `...` shows a cut."""
    encoded = text[: max_bytes + 1].encode(errors="replace")
    if len(encoded) <= max_bytes:
        return text
    return encoded[: max_bytes - len(_CUT)].decode(errors="ignore") + _CUT


def tail(text: str, max_bytes: int) -> str:
    """Return the end of a text, of at most `max_bytes` in UTF-8; `...` shows a cut."""
    encoded = text[-max_bytes - 1 :].encode(errors="replace")
    if len(encoded) <= max_bytes:
        return text
    return _CUT + encoded[len(encoded) - max_bytes + len(_CUT) :].decode(errors="ignore")


def last_lines(lines: Sequence[str], max_line_bytes: int, max_bytes: int) -> tuple[str, ...]:
    """Return the last lines that fit into `max_bytes` together, each cut to `max_line_bytes`."""
    kept: list[str] = []
    for line in reversed(lines):
        short = head(line, max_line_bytes)
        max_bytes -= len(short.encode(errors="replace")) + 1  # an empty line is a line, too
        if max_bytes < 0:
            break
        kept.append(short)
    return tuple(reversed(kept))


def first_words(words: Sequence[str], max_word_bytes: int, max_words: int) -> tuple[str, ...]:
    """Return the first words of a command line, each cut to `max_word_bytes`."""
    cut = () if len(words) <= max_words else (_CUT,)
    return (*(head(word, max_word_bytes) for word in words[:max_words]), *cut)
