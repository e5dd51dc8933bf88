"""Who else works on this computer: the embedded Temporal obeys every local user.

Its server has no logins and no socket with permissions, so on loopback it cannot tell users apart.
Whoever starts a workflow there acts with the keys of the fleet.
"""

import json
import pwd
from collections.abc import Iterable
from pathlib import Path, PurePath

from relight.engine.errors import SetupError
from starter.local.home import prepare_home, write_private

FIRST_UID, LAST_UID = 1000, 60000
"""The ids of people's accounts, as Debian's login.defs sets them."""

_NO_LOGIN = {"nologin", "false", "sync"}


def login_accounts(accounts: Iterable[pwd.struct_passwd]) -> tuple[str, ...]:
    """Return the names of the accounts that a person can log in with, sorted.

    An account counts if its user id is from 1000 to 60000 and its shell is none that refuses a
    login. root is not counted: it can do everything anyway.
    """
    return tuple(
        sorted(
            each.pw_name
            for each in accounts
            if FIRST_UID <= each.pw_uid <= LAST_UID
            and PurePath(each.pw_shell or "/bin/sh").name not in _NO_LOGIN
        )
    )


def is_shared(accounts: tuple[str, ...]) -> bool:
    """Return whether several people can log in here."""
    return len(accounts) > 1


def require_understood(home: Path, accounts: tuple[str, ...], *, understood: bool) -> None:
    """Refuse a computer of several people, unless somebody has said that this is understood.

    That is remembered in the home folder, for these accounts: a further one asks again.

    Args:
        home: the home folder.
        accounts: who can log in here.
        understood: whether it is said now.

    Raises:
        SetupError: several people can log in, and it was not said.
    """
    if not is_shared(accounts):
        return
    file = home / "understood_accounts.json"
    known = set(json.loads(file.read_text())) if file.exists() else set()
    if set(accounts) <= known:
        return
    if not understood:
        msg = (
            f"{len(accounts)} people can log in on this computer ({', '.join(accounts)}), and the"
            " embedded Temporal obeys each of them: they could start workflows with the keys of"
            " your fleet. Use a Temporal of your own (TEMPORAL_ADDRESS, docs/security.md), or"
            " accept it with `relight up --i-understand`"
        )
        raise SetupError(msg)
    prepare_home(home)
    write_private(file, json.dumps(accounts))
