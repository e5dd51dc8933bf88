"""A file of settings in TOML."""

import tomllib
from pathlib import Path
from typing import Any

from relight.domain.error_words import error_words
from relight.domain.text import visible
from relight.setting_groups import SettingsError


def read_toml(file: Path, variable: str, *, is_named: bool) -> dict[str, Any]:
    """Return what the file has; nothing if it does not exist and is not named.

    Args:
        file: its path.
        variable: the setting that can name it.
        is_named: whether that setting names it.

    Raises:
        SettingsError: it is named and does not exist, cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(file.read_text())
    except FileNotFoundError:
        if not is_named:
            return {}
        raise SettingsError(f"{variable} names {file}, which does not exist") from None
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error_words(error)}") from error
    except ValueError as error:  # of TOML, or of UTF-8
        raise SettingsError(f"{file} is no TOML: {visible(str(error))}") from error
