"""The address of the store, as the settings give it: with the password that is in a file."""

from pathlib import Path

from relight.domain.error_words import error_words
from relight.setting_groups import SettingsError
from relight.settings import Settings


def store_address(settings: Settings) -> str:
    """Return the address that was set, else that of a SQLite file in the home folder.

    Raises:
        SettingsError: the file with its password cannot be read, or is empty.
        BadStoreUrlError: it is malformed, or takes no password.
    """
    if settings.has_embedded_store:
        return f"sqlite:///{settings.store_file}"
    url, file = settings.store_url.get_secret_value(), settings.store_password_file
    return url if file is None else _with_password(url, file)


def _with_password(url: str, file: Path) -> str:
    # Slow to import: only commands that open a store do so.
    from relight.store.database import with_password  # noqa: PLC0415

    try:
        password = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"RELIGHT_STORE_PASSWORD_FILE, {file}, cannot be read: {error_words(error)}"
        raise SettingsError(msg) from error
    if not password:
        raise SettingsError(f"RELIGHT_STORE_PASSWORD_FILE, {file}, is empty")
    return with_password(url, password)
