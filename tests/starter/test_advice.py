"""What Relight tells people to type can be typed: every command exists, with its options.

Read are all texts of the code (messages, help, comments of documentation), the table of faults, and
the documentation.
"""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from relight.domain.fault.advice import UNKNOWN, FaultSubject, advice_about
from relight.domain.fault.table import RULES
from starter.cli.app import _Commands

ROOT = Path(__file__).parents[2]
CODE = ("relight", "workflows", "activities", "starter")
FOUND = re.compile(r"(?<![\w/.'-])relight (?=[a-z-])")
"""Where a command begins."""

COMMAND_LINE = re.compile(r"\s*(?:[$#] )?(?:[A-Z_]+=\S+ )*")
"""What may stand before a command that has a line of its own, as in an example."""

NO_COMMANDS = ("relight ssh host key/",)


class Mention(NamedTuple):
    """A command in a text.

    Attributes:
        place: the file and the line of the text.
        words: what follows `relight`.
        whole: the text ends or marks the command. Elsewhere other words may follow it.
    """

    place: str
    words: str
    whole: bool


def mentions(place: str, text: str) -> Iterator[Mention]:
    text = text.replace("\\\n", " ")
    for found in FOUND.finditer(text):
        if text.startswith(NO_COMMANDS, found.start()):
            continue
        line_start = text.rfind("\n", 0, found.start()) + 1
        line = text[found.end() :].split("\n", 1)[0]
        before = text[line_start : found.start()]
        if before.endswith("`"):
            # In a docstring a command may continue on the next line.
            words = " ".join(text[found.end() :].split("`", 1)[0].split())
            yield Mention(place, words, whole=True)
        elif COMMAND_LINE.fullmatch(before) and before:
            yield Mention(place, re.split(r" [|>]|  | #", line)[0], whole=True)
        else:
            yield Mention(place, re.split(r"[`.,;:()|]", line)[0], whole=False)


def texts_of(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each string of a Python file; `X` for inserted values."""
    tree = ast.parse(file.read_text())
    parts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        place = f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.JoinedStr):
            yield (
                place,
                "".join(
                    part.value
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                    else "X"
                    for part in node.values
                ),
            )
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts
        ):
            yield place, node.value


def python_files() -> Iterator[Path]:
    for package in CODE:
        yield from sorted((ROOT / package).rglob("*.py"))
    yield ROOT / "worker.py"


def documents() -> Iterator[Path]:
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


def everything() -> Iterator[Mention]:
    for file in python_files():
        for place, text in texts_of(file):
            yield from mentions(place, text)
    for file in documents():
        for number, line in enumerate(file.read_text().splitlines(), 1):
            yield from mentions(f"{file.relative_to(ROOT)}:{number}", line)


def problem(mention: Mention) -> str | None:
    """Return why a command cannot be typed; None if it can."""
    try:
        words = shlex.split(mention.words)
    except ValueError:
        words = mention.words.split()
    if words[0].startswith("-"):
        return None  # Of `relight` itself, as `relight --help`.
    lazy = _Commands.lazy_commands.get(words[0])
    if lazy is None:
        return f"there is no command {words[0]}"
    command, position = lazy.load(words[0]), 1
    while (below := getattr(command, "commands", None)) is not None:
        if position == len(words) or words[position].startswith("-"):
            return None  # The name of a group: it shows its commands.
        if words[position] not in below:
            return f"there is no {' '.join(words[:position])} {words[position]}"
        command, position = below[words[position]], position + 1
    return _problem_of_arguments(command, words[position:], whole=mention.whole)


def _problem_of_arguments(command, words: list[str], *, whole: bool) -> str | None:
    options = {
        name: each
        for each in command.params
        if each.param_type_name == "option"
        for name in (*each.opts, *each.secondary_opts)
    }
    given, rest = 0, iter(words)
    for word in rest:
        name, equals, _ = word.partition("=")
        if not name.startswith("-") or name == "-":
            given += 1
        elif name in ("--help", "-h"):
            return None
        elif name not in options:
            return f"there is no option {name}"
        elif not equals and not options[name].is_flag:
            next(rest, None)
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    if not whole:
        return None
    lacking = [
        each.opts[0]
        for each in command.params
        if each.param_type_name == "option" and each.required and not {*each.opts} & {*words}
    ]
    if given and lacking:
        return f"it needs {lacking[0]}"
    if given > len(arguments) and all(each.nargs == 1 for each in arguments):
        return f"it takes {len(arguments)} arguments, not {given}"
    return None


ALL = sorted(set(everything()))


def test_every_command_that_a_text_names_exists():
    assert len(ALL) > 200
    assert {each: why for each in ALL if (why := problem(each)) is not None} == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("try `relight rollout sto`.", "there is no rollout sto"),
        ("relight rollouts", "there is no command rollouts"),
        ("to do: relight rollout approve, or relight rollout abrt", "there is no rollout abrt"),
        ("      relight route show eu-1 --jsn", "there is no option --jsn"),
        ("`relight breaker override add --grup X`", "there is no option --grup"),
        ("$ relight route show a b    # two", "it takes 1 arguments, not 2"),
        ("`relight freeze add --route eu-1 x`", "it needs --reason"),
    ],
)
def test_a_command_that_does_not_exist_is_found(text: str, why: str):
    assert why in [problem(each) for each in mentions("", text)]


@pytest.mark.parametrize("kind", RULES)
def test_what_to_do_about_a_fault_is_nothing_or_names_a_command_or_a_setting(kind: str):
    advice = RULES[kind].advice
    found = list(mentions(kind, advice))
    nothing = re.match(r"Nothing(:|,| for a single case:)", advice)
    assert nothing or found or "RELIGHT_" in advice
    # An example needs no argument; advice is typed as it stands.
    assert [each for each in found if not each.whole] == []
    lacking = [each for each in found if _lacks_arguments(each) and "--help" not in each.words]
    assert lacking == []


PLACEHOLDER = re.compile(r"\b(?!RELIGHT_|TEMPORAL_)[A-Z]{3,}\b")
WHOLE = FaultSubject("eu-1", "v0.0.74", "beta", "lab-east", "eu-1-g2", "base-1-amd64")


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("subject", [WHOLE, FaultSubject("eu-1"), UNKNOWN])
def test_what_a_person_is_told_about_a_fault_can_be_typed_as_it_stands(
    kind: str, subject: FaultSubject
):
    """Of a command with a value that is not known, the help is named."""
    told = advice_about(kind, subject)
    found = list(mentions(kind, told))
    assert len(found) == len(list(mentions(kind, RULES[kind].advice)))
    assert [each for each in found if problem(each) is not None] == []
    assert [each.words for each in found if PLACEHOLDER.search(each.words)] == []
    lacking = [each for each in found if _lacks_arguments(each) and "--help" not in each.words]
    assert lacking == []
    if subject is WHOLE:
        assert "--help" not in told.replace("`relight route swap --help`", "")


def test_a_value_that_a_shell_would_read_is_quoted():
    told = advice_about("no-release-before", FaultSubject("eu-1; reboot"))
    assert "`relight route show 'eu-1; reboot'`" in told


ABOUT_NOTHING = ("no pools yet", "no rollouts yet", "a command works in one context")
"""Where there is no thing yet, no value can be named."""


def test_no_message_about_a_thing_has_a_placeholder():
    values = re.compile(r"(?<![A-Z_])(ROUTE|TAG|TRACK|KEY|REGION|PROVIDER)(?![A-Z_])")
    texts = [
        (place, text)
        for file in python_files()
        if "domain/fault" not in str(file)
        for helps in [_helps_and_docstrings(file)]
        for place, text in texts_of(file)
        if text not in helps and not text.lower().startswith(ABOUT_NOTHING)
    ]
    assert len(texts) > 2000
    found = [
        each.place
        for place, text in texts
        for each in mentions(place, text)
        if values.search(each.words)
    ]
    assert found == []


def _helps_and_docstrings(file: Path) -> set[str]:
    """Return the texts that explain a command or the code, and are about nothing in particular."""
    return _docstrings(file) | {
        part.value
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.keyword) and node.arg == "help"
        for part in ast.walk(node.value)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }


def _lacks_arguments(mention: Mention) -> bool:
    words = shlex.split(mention.words)
    command, position = _Commands.lazy_commands[words[0]].load(words[0]), 1
    while (below := getattr(command, "commands", None)) is not None:
        command, position = below[words[position]], position + 1
    required = sum(each.required for each in command.params if each.param_type_name == "argument")
    return len([word for word in words[position:] if not word.startswith("-")]) < required


def test_whatever_a_rollout_tells_a_person_to_do_names_a_command():
    told = [
        text
        for file in python_files()
        for node in ast.walk(ast.parse(file.read_text()))
        for text in _told_by(node)
    ]
    assert len(told) >= 3
    assert [text for text in told if not list(mentions("", text))] == []


def _told_by(node: ast.AST) -> Iterator[str]:
    """Yield the texts that a node gives to `to_do`."""
    match node:
        case (
            ast.keyword(arg="to_do", value=ast.Constant(value=str(text)))
            | ast.Assign(targets=[ast.Name(id="to_do")], value=ast.Constant(value=str(text)))
        ) if text:
            yield text


def test_a_message_that_leaves_something_to_a_person_names_a_command():
    told = {
        (place, text)
        for file in python_files()
        for place, text in texts_of(file)
        if re.search(r"a person has to (decide|check)", text) and text not in _docstrings(file)
    }
    assert len(told) >= 4
    assert {place: text for place, text in told if not list(mentions(place, text))} == {}


def _docstrings(file: Path) -> set[str]:
    """Return the strings of a file that are statements of their own."""
    return {
        node.value.value
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }
