"""Templates of files on hosts: their environment, their filters, and the errors of rendering.

Who writes a template of the service runs no code here: it sees its own variables only.
"""

import re
from collections.abc import Callable
from typing import TypeVar

import jinja2
import jinja2.meta
import jinja2.sandbox

from relight.domain.fault.error import DomainError

SUFFIX = ".j2"

_TO_ESCAPE = re.compile(r"""[^ -~]|["\\]""")

# What expressions in a template may raise. ValueError includes UnicodeDecodeError of its file.
_RAISED = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)

_Rendered = TypeVar("_Rendered")


class TemplateError(DomainError):
    """A template cannot be rendered: it is invalid, or uses an undefined variable."""

    kind = "template-broken"


def named(name: str, work: Callable[[], _Rendered]) -> _Rendered:
    """Call `work`; raise its errors as a TemplateError that names the template."""
    try:
        return work()
    except _RAISED as error:
        line = error.lineno if isinstance(error, jinja2.TemplateSyntaxError) else None
        position = f", line {line}" if line else ""
        raise TemplateError(f"{name}{position}: {error}") from error


def uses_secrets(environment: jinja2.Environment, name: str) -> bool:
    """Return whether a template, or one that it includes, uses a secret; True if it is unknown."""
    assert environment.loader is not None
    checked: set[str] = set()
    pending = [name]
    while pending:
        current = pending.pop()
        checked.add(current)
        text = environment.loader.get_source(environment, current)[0]
        tree = environment.parse(text, filename=current)
        if "secrets" in jinja2.meta.find_undeclared_variables(tree):
            return True
        for other in jinja2.meta.find_referenced_templates(tree):
            if other is None:  # its name is an expression, known only when rendered
                return True
            if other not in checked:
                pending.append(other)
    return False


def template_environment(loader: jinja2.BaseLoader) -> jinja2.Environment:
    """Return an environment in which a template reaches its own variables only."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        autoescape=False,
    )
    environment.filters["yaml"] = yaml_text
    environment.filters["env"] = environment_value
    environment.filters["word"] = deb822_word
    return environment


def yaml_text(text: str) -> str:
    """Return `text` as a double-quoted YAML scalar in printable ASCII.

    JSON is not enough: it does not escape DEL, which YAML forbids, and it writes characters above
    U+FFFF as surrogate pairs, which YAML reads as two characters.

    Raises:
        ValueError: it contains a lone surrogate.
    """
    return '"' + _TO_ESCAPE.sub(_escaped, text) + '"'


def environment_value(text: str) -> str:
    """Return `text` as a value in a file that systemd's EnvironmentFile= or a shell reads.

    Raises:
        ValueError: it contains a NUL.
    """
    if "\0" in text:
        raise ValueError("an environment variable cannot contain a NUL")
    for special in '\\"$`':
        text = text.replace(special, f"\\{special}")
    return f'"{text}"'


def deb822_word(text: str) -> str:
    """Return `text` as one word of a field in an apt source.

    Raises:
        ValueError: it is empty, or contains a blank or an unprintable character.
    """
    if not text or not text.isprintable() or " " in text:
        raise ValueError("it is empty, or contains a blank or an unprintable character")
    return text


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:
        raise ValueError(f"it contains a lone surrogate, {code:#x}")
    if character in '"\\':
        return f"\\{character}"
    if character == "\n":
        return "\\n"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
