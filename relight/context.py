"""The context of a command: the one home folder, store and Temporal that it works with.

A saved context is an entry of the file `contexts.json` in the person's folder of configuration. It
holds addresses and no secret.
"""

import os
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from relight.engine.errors import ContextError, UnknownContextError
from relight.person import config_folder

RESOLUTION = (
    "A command works in one context, and takes nothing from another. The first of these counts:\n\n"
    "1. the one that is named: by `--context NAME` before the command, or RELIGHT_CONTEXT; or by"
    " variables that are a part of one (`environment`): RELIGHT_HOME, RELIGHT_STORE_URL,"
    " TEMPORAL_ADDRESS, TEMPORAL_CONFIG_FILE, or a key's;\n\n"
    "2. `local`: the folder .relight in the current folder;\n\n"
    "3. the one in use: `relight context use NAME`.\n\n"
    "Without any, a command is refused with exit code 3. Only `up` and `init` make a home: in the"
    " context that is named, else in the current folder. They and `down` never take the one in use."
)
"""How the context is found, for people. `current_context` does it."""

LOCAL, ENVIRONMENT = "local", "environment"
RESERVED = (LOCAL, ENVIRONMENT)

ContextName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$")]

_NAME = "RELIGHT_CONTEXT"
_SERVER = ("TEMPORAL_ADDRESS", "TEMPORAL_CONFIG_FILE")
_PARTS = (
    *("RELIGHT_HOME", "RELIGHT_STORE_URL", *_SERVER),
    *("RELIGHT_SSH__CLIENT_KEY", "RELIGHT_SSH__HOST_KEY_SECRET"),
    *("RELIGHT_TEMPORAL__API_KEY_FILE", "RELIGHT_TEMPORAL__PAYLOAD_KEYS"),
)
"""The variables that make the context `environment`."""

_named: ContextVar[str | None] = ContextVar("named_context", default=None)


class SavedContext(BaseModel):
    """A context in the file.

    Attributes:
        home: the home folder, with the file `env`. It need not exist where all else is set.
        store_url: the store, without a password; empty for the one of the home folder.
        temporal_address: `host:port`; empty for the server of the home folder, or of the file.
        temporal_namespace: empty for that of the file, else `default`.
        temporal_config_file: the SDK's TOML file, with its certificates and keys.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path
    store_url: str = ""
    temporal_address: str = ""
    temporal_namespace: str = ""
    temporal_config_file: Path | None = None

    @property
    def temporal(self) -> dict[str, str]:
        """The SDK's variables that name the Temporal server; empty for the home folder's own."""
        variables = {
            "TEMPORAL_ADDRESS": self.temporal_address,
            "TEMPORAL_NAMESPACE": self.temporal_namespace,
            "TEMPORAL_CONFIG_FILE": str(self.temporal_config_file or ""),
        }
        return {name: value for name, value in variables.items() if value}


class SavedContexts(BaseModel):
    """The file of contexts.

    Attributes:
        in_use: the name of the one in use; None for none.
        contexts: by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    in_use: str | None = None
    contexts: dict[str, SavedContext] = {}

    def get(self, name: str) -> SavedContext:
        """Return a context.

        Raises:
            UnknownContextError: there is none of this name.
        """
        if name not in self.contexts:
            known = ", ".join(sorted(self.contexts)) or "none is saved"
            msg = (
                f"there is no context {name} in {contexts_file()} (there: {known}): type"
                " `relight context list`, or add it with `relight context add`"
            )
            raise UnknownContextError(msg)
        return self.contexts[name]


@dataclass(frozen=True)
class Context:
    """A context as a command finds it.

    Attributes:
        name: of a saved one, `local`, or `environment`; empty if there is no context here. The home
            folder is then the one that `relight up` would make.
        chosen_by: what made it the one.
        home: the home folder; it may not exist.
        store_url: the store; empty for the one of RELIGHT_STORE_URL, else of the home folder.
        temporal: the SDK's variables that name the Temporal server, as TEMPORAL_ADDRESS; without
            any of those that name one, it is the home folder's own.
    """

    name: str
    chosen_by: str
    home: Path
    store_url: str = ""
    temporal: Mapping[str, str] = field(default_factory=dict)

    @property
    def names_a_server(self) -> bool:
        """Whether it names a Temporal server, so that the home folder's own is not used."""
        return any(self.temporal.get(name) for name in _SERVER)

    @property
    def variables(self) -> dict[str, str]:
        """What a child process in this folder needs in addition to work in the same context."""
        return {} if self.name in {"", ENVIRONMENT} else {_NAME: self.name}


def contexts_file() -> Path:
    """Return the file of contexts; it may not exist."""
    return config_folder() / "contexts.json"


def saved_contexts() -> SavedContexts:
    """Read the file of contexts; none are saved if it does not exist.

    Raises:
        ContextError: it cannot be read.
    """
    file = contexts_file()
    try:
        return SavedContexts.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return SavedContexts()
    except (OSError, ValidationError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not as Relight writes it"
        msg = f"the contexts in {file} cannot be read: {why}. Correct or remove the file"
        raise ContextError(msg) from error


def name_context(name: str) -> None:
    """Name the context of this command, as `--context` does."""
    _named.set(name)


def current_context(*, to_make: bool = False) -> Context:
    """Return the context of this command: the first that `RESOLUTION` has.

    Args:
        to_make: a home may be made there, so the context in use is not taken.

    Raises:
        UnknownContextError: there is none of the name that was given.
        ContextError: a context is named, and variables name another; or the file cannot be read.
    """
    parts = [name for name in _PARTS if os.environ.get(name)]
    option = _named.get()
    named, by = option or os.environ.get(_NAME), "--context" if option else _NAME
    local = Path(".relight").absolute()
    if named and parts:
        msg = (
            f"{by} names the context {named}, and {', '.join(parts)} name another: nothing is"
            f" taken from two. Nothing was done. Unset {' and '.join(parts)}, or leave {by} out"
        )
        raise ContextError(msg)
    if named and named != LOCAL:
        return named_context(named, saved_contexts().get(named), by)
    if parts:
        home = Path(os.environ.get("RELIGHT_HOME") or local).absolute()
        temporal = {name: os.environ[name] for name in os.environ if name.startswith("TEMPORAL_")}
        return Context(ENVIRONMENT, ", ".join(parts), home, temporal=temporal)
    if named or local.exists():
        return Context(LOCAL, by if named else "the current folder", local)
    if not to_make and (saved := saved_contexts()).in_use is not None:
        return named_context(saved.in_use, saved.get(saved.in_use), "`relight context use`")
    return Context(LOCAL if to_make else "", "the current folder", local)


def require_readable(home: Path) -> None:
    """Check that this account may read a home folder, if it exists.

    Raises:
        ContextError: it may not.
    """
    if home.exists() and not os.access(home, os.R_OK | os.X_OK):
        msg = (
            f"this account may not read the home {home}, which belongs to another: type the command"
            " as that account, or behind sudo"
        )
        raise ContextError(msg)


def named_context(name: str, saved: SavedContext, by: str = "its name") -> Context:
    """Return a saved context, as a command finds it."""
    return Context(name, by, saved.home, saved.store_url, saved.temporal)
