"""What was found in a package, in sentences for people. Pure."""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import PurePosixPath
from typing import Final

from relight.domain.text import visible_head
from relight.inspection.choice import conditions_of
from relight.inspection.facts import Facts

MAX_WORDS_BYTES: Final = 300
"""Of one sentence: it quotes the package."""

MAX_SENTENCES: Final = 50

_SWITCHED_OFF = re.compile(
    r"^(?:START(?:_\w+)?|ENABLED?|RUN(?:_\w+)?)=\W*(?:0|no|false)\b", re.IGNORECASE | re.MULTILINE
)
_SAYS_A_PORT = re.compile(
    r"^[ \t]*(?:[\w.]*[._])?(?:port|listen|bind)\b[ \t:=].*\d.*$", re.IGNORECASE | re.MULTILINE
)
_MAX_HINTS = 3


def notes_of(facts: Facts) -> list[str]:
    """Return what a person should know of a service."""
    return _bounded(_notes(facts))


def unknown_of(facts: Facts) -> list[str]:
    """Return what could not be found out about a service."""
    return _bounded((*_unknown_of_units(facts), *_unknown_of_files(facts), *_no_port(facts)))


def _notes(facts: Facts) -> Iterator[str]:
    main, choice = facts.main, facts.choice
    if facts.holder is not facts.contents:
        yield f"{main.name} is in {facts.holder.control.package}, which the package depends on."
    if facts.port is not None:
        yield f"It listens on port {facts.port.port}, as `{facts.port.source}` says."
    if facts.executable:
        yield f"{facts.executable} is in no package that was read: it is the executable."
    if main.file.all("Service", "ExecReload"):
        yield "It can be reloaded. A reload need not replace the program, so it is restarted."
    if choice.host_decides:
        yield "Each of its units runs on some hosts only, so none is started that does not run."
    starts_itself = main.is_installed and not (main.is_template or choice.sockets)
    if main.is_enabled is False and starts_itself:
        yield f"The package does not enable {main.name}: a first boot does."
    for condition in conditions_of(main):
        yield f"{main.name} starts only where `{condition}` holds."
    yield from (f"Not a part of it: {each}." for each in choice.left)


def _unknown_of_units(facts: Facts) -> Iterator[str]:
    main, choice = facts.main, facts.choice
    if not choice.is_sure:
        yield f"Which unit is the service: {main.name} is {choice.reason} that are alike."
    if main.is_masked:
        yield f"How {main.name} starts: its package masks it, so it cannot."
    if main.is_template and choice.name != main.pattern:
        yield f"Which instances run: {choice.name} is started, and others of a host are not proven."
    elif main.is_template:
        yield "Which instances run: those that a host has. Where it has none, nothing is proven."
    if facts.has_generator:
        yield "Which units its generator makes at boot."
    if not facts.argv and not main.script:
        yield f"What {main.name} runs: it has no ExecStart."


def _unknown_of_files(facts: Facts) -> Iterator[str]:
    for path in facts.main.file.all("Service", "EnvironmentFile"):
        if not path.startswith("-") and not facts.text(path):
            yield f"What {path} sets: the package does not contain it, and it has to exist."
    for path in facts.named_configuration:
        if switched := _SWITCHED_OFF.search(facts.text(path)):
            yield f"Whether it runs: {path} has `{switched[0].strip()}`."


def _no_port(facts: Facts) -> Iterator[str]:
    if facts.port is not None:
        return
    local = next((each for each in facts.ports if each.is_local), None)
    other = next((each for each in facts.ports if not each.is_local), None)
    if other is not None:
        yield f"A port to probe: `{other.source}` need not be the one that it is there for."
    elif local is not None:
        yield f"A port to probe: `{local.source}` is reached from the host itself only."
    else:
        yield "A port to probe: neither its units nor their arguments name one."
    hints = (
        f"{path} has `{line.strip()}`."
        for path in facts.configuration
        if _may_name_the_port(facts, path)
        for line in _SAYS_A_PORT.findall(facts.text(path))
    )
    yield from islice(hints, _MAX_HINTS)


def _may_name_the_port(facts: Facts, path: str) -> bool:
    names = {facts.main.base, facts.contents.control.package}
    return path in facts.named_configuration or PurePosixPath(path).stem in names


def _bounded(sentences: Iterable[str]) -> list[str]:
    """Return sentences without repetitions, visible, each of a bounded length."""
    distinct = dict.fromkeys(" ".join(each.split()) for each in sentences)
    return [visible_head(each, MAX_WORDS_BYTES) for each in distinct][:MAX_SENTENCES]
