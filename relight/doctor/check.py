"""One check, and its result."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import StrEnum

from temporalio.client import Client

from relight.domain.base import Message
from relight.releases.source import SourceConfig
from relight.settings import Settings
from relight.store.store import Store


class CheckStatus(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class CheckResult(Message):
    """The result of a check.

    Attributes:
        name: of the check.
        status: `warning` does not keep anything from working now.
        found: what was found, one sentence without secrets.
        to_do: what a person should do; empty if all is well, or another check says it.
    """

    name: str
    status: CheckStatus = CheckStatus.OK
    found: str
    to_do: str = ""


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        found: one sentence.
        warning: what to do, if something is not as it should be; empty if all is well.
    """

    found: str
    warning: str = ""


class CheckFailedError(Exception):
    """A check found that something does not work; the text says what."""


@dataclass
class Subject:
    """What is checked. Later checks use what earlier ones have opened.

    Attributes:
        settings: of the context.
        opened: closes what checks have opened.
        store: None until its check has passed.
        client: of Temporal; None until its check has passed.
        source: the configuration of the source of releases; None until its check has passed.
    """

    settings: Settings
    opened: AsyncExitStack = field(repr=False)
    store: Store | None = None
    client: Client | None = None
    source: SourceConfig | None = None


@dataclass(frozen=True)
class Check:
    """A check.

    Attributes:
        name: what is checked.
        run: returns what it found, or raises one of `relight.doctor.examination.FAILURES`.
        to_do: what to do if it failed.
        needs: the attributes of `Subject` that earlier checks must have set.
        is_needed_to_serve: whether a worker cannot serve if it failed.
    """

    name: str
    run: Callable[[Subject], Awaitable[Finding]]
    to_do: str
    needs: tuple[str, ...] = ()
    is_needed_to_serve: bool = False
