"""Texts with a limit: a message has to fit into a payload, whatever a host or a person writes."""

from collections.abc import Sequence

_CUT = "..."


def head(text: str, max_bytes: int) -> str:
    """Return the beginning of a text, of at most `max_bytes` in UTF-8; `...` shows a cut."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= max_bytes:
        return text
    return encoded[: max_bytes - len(_CUT)].decode(errors="ignore") + _CUT


def tail(text: str, max_bytes: int) -> str:
    """Return the end of a text, of at most `max_bytes` in UTF-8; `...` shows a cut."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= max_bytes:
        return text
    return _CUT + encoded[len(encoded) - max_bytes + len(_CUT) :].decode(errors="ignore")


def last_lines(lines: Sequence[str], max_line_bytes: int, max_bytes: int) -> tuple[str, ...]:
    """Return the last lines that fit into `max_bytes` together, each cut to `max_line_bytes`."""
    kept: list[str] = []
    for line in reversed(lines):
        short = head(line, max_line_bytes)
        max_bytes -= len(short.encode(errors="replace"))
        if max_bytes < 0:
            break
        kept.append(short)
    return tuple(reversed(kept))


def first_words(words: Sequence[str], max_word_bytes: int, max_words: int) -> tuple[str, ...]:
    """Return the first words of a command line, each cut to `max_word_bytes`."""
    cut = () if len(words) <= max_words else (_CUT,)
    return (*(head(word, max_word_bytes) for word in words[:max_words]), *cut)
