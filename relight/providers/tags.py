"""Our tags on a machine or an image: the same names at every provider.

A provider without named tags has them as texts, `relight-owner=main`.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from relight.providers.driver import MachineSpec
from relight.providers.image_driver import ImageSpec

OWNER: Final = "relight-owner"
KEY: Final = "relight-key"
GENERATION: Final = "relight-generation"
CREATED_BY: Final = "relight-created-by"
IDENTITY: Final = "relight-identity"
ARCHITECTURE: Final = "relight-architecture"

MAX_GENERATION_DIGITS = 9


class Tags(NamedTuple):
    """What the tags of a machine say; None where there is none, or it is not ours.

    Attributes:
        owner, generation, created_by: as of `MachineAtProvider`.
        key: of the machine.
    """

    owner: str | None = None
    key: str | None = None
    generation: int | None = None
    created_by: str | None = None


def tags_of(key: str, spec: MachineSpec) -> dict[str, str]:
    """Return the tags of a new machine, by name."""
    tags = {OWNER: spec.owner, KEY: key, GENERATION: str(spec.generation)}
    return tags | ({CREATED_BY: spec.created_by} if spec.created_by else {})


def image_tags_of(spec: ImageSpec) -> dict[str, str]:
    """Return the tags of a new image, by name."""
    return {
        OWNER: spec.owner,
        IDENTITY: spec.manifest.identity,
        ARCHITECTURE: spec.manifest.architecture,
    }


def read_tags(tags: Mapping[str, str]) -> Tags:
    """Return what tags say; any others are ignored: foreign machines may have any text there."""
    return Tags(
        owner=tags.get(OWNER) or None,
        key=tags.get(KEY) or None,
        generation=number_of(tags.get(GENERATION, "")),
        created_by=tags.get(CREATED_BY) or None,
    )


def number_of(text: str) -> int | None:
    """Return a tag's number; None for anything else."""
    plain = text.isascii() and text.isdigit() and len(text) <= MAX_GENERATION_DIGITS
    return int(text) if plain else None


def as_texts(tags: Mapping[str, str], max_characters: int) -> list[str]:
    """Return tags as texts `name=value`, none longer than `max_characters`.

    A longer value is split: `name.1=the first part`, `name.2=the second`.
    """
    texts: list[str] = []
    for name, value in tags.items():
        if len(f"{name}={value}") <= max_characters:
            texts.append(f"{name}={value}")
            continue
        size = max_characters - len(f"{name}.1=")
        parts = [value[start : start + size] for start in range(0, len(value), size)]
        texts += [f"{name}.{number}={part}" for number, part in enumerate(parts, start=1)]
    return texts


def from_texts(texts: Iterable[str]) -> dict[str, str]:
    """Return the tags that `as_texts` wrote, in any order; texts without a value are left out."""
    tags = dict(text.split("=", 1) for text in texts if "=" in text)
    for name in (OWNER, KEY, GENERATION, CREATED_BY, IDENTITY, ARCHITECTURE):
        parts: list[str] = []
        while (part := tags.pop(f"{name}.{len(parts) + 1}", None)) is not None:
            parts.append(part)
        if parts:
            tags.setdefault(name, "".join(parts))
    return tags
