"""What cloud-init would write: the files in user-data."""

import base64
from collections.abc import Mapping
from typing import Any


def content(file: Mapping[str, Any]) -> str:
    """Return the text of an entry in `write_files`."""
    return binary_content(file).decode()


def binary_content(file: Mapping[str, Any]) -> bytes:
    """Return the bytes of an entry in `write_files`."""
    match file["encoding"]:
        case "text/plain":
            return str(file["content"]).encode()
        case "b64":
            return base64.b64decode(file["content"])
    raise AssertionError(f"cloud-init does not know {file['encoding']}")
