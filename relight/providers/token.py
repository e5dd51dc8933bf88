"""The token of a creation: a provider that knows it already creates nothing more."""

import hashlib
import json

from pydantic import SecretBytes


def create_token(key: str, generation: int, zone: str, shape: str, user_data: SecretBytes) -> str:
    """Return the same token for the same machine: 64 characters of a to f and 0 to 9.

    Zone and shape are in it, because a provider refuses a token with another payload; user-data is
    in it, because its keys may be rotated between two attempts.
    """
    digest = hashlib.sha256(user_data.get_secret_value()).hexdigest()
    return hashlib.sha256(json.dumps([key, generation, zone, shape, digest]).encode()).hexdigest()
