"""Text in its place: no value, whatever it contains, can end the place that it stands in.

Raises `ValueError` for what has no form there.
"""


def yaml_text(text: str) -> str:
    """Return `text` as a double-quoted YAML scalar in printable ASCII.

    JSON would nearly do. But JSON leaves DEL as it is, which YAML forbids, and writes what is
    beyond the sixteenth bit as two halves, which YAML takes for two characters.
    """
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:
        raise ValueError(f"half of a character, {code:#x}, is no text")
    if character in '"\\':
        return f"\\{character}"
    if " " <= character <= "~":
        return character
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def environment_value(text: str) -> str:
    """Return `text` as a value in a file that systemd's EnvironmentFile= or a shell reads."""
    if "\0" in text:
        raise ValueError("no environment can hold a NUL")
    for special in '\\"$`':
        text = text.replace(special, f"\\{special}")
    return f'"{text}"'


def deb822_word(text: str) -> str:
    """Return `text` as one word of a field in an apt source."""
    if not text or not text.isprintable() or " " in text:
        raise ValueError("it is empty, or holds a blank or what cannot be printed")
    return text
