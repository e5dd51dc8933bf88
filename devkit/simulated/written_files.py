"""What cloud-init would write: the files in user-data."""

import base64
import gzip
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


def unpacked(user_data: bytes) -> str:
    """Return the text of user-data, which may be compressed."""
    is_compressed = user_data.startswith(b"\x1f\x8b")
    return (gzip.decompress(user_data) if is_compressed else user_data).decode()
