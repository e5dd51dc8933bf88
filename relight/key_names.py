"""The keys in files, by what everybody may know of them: for commands, which log in nowhere."""

from pathlib import Path

from relight.domain.key_rotation import KeyKind, KeyName
from relight.hosts.key_files import names_in
from relight.hosts.keys import IdentityError
from relight.setting_groups import SettingsError


def key_names(kind: KeyKind, file: Path) -> tuple[KeyName, ...]:
    """Return the names of the key in use, and of a rotation's new one if there is one.

    Args:
        kind: of the key.
        file: of the key in use.

    Raises:
        SettingsError: the one in use cannot be used.
    """
    try:
        return names_in(kind, file)
    except IdentityError as error:
        raise SettingsError(f"{error}. Type it where a worker runs") from error
