"""The label of an image's build, and the name that it gives the image."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, TypeAdapter, ValidationError

from relight.domain.image.image import ImageName
from relight.domain.release import ArchitectureName

DEFAULT_PREFIX: Final = "relight-base"

MAX_LABEL_LENGTH: Final = 24
"""So that the name of the image has at most 48 characters."""

_V = re.compile(r"v(?=[0-9])")
_LABEL = re.compile(rf"[a-z0-9]([a-z0-9.-]{{0,{MAX_LABEL_LENGTH - 2}}}[a-z0-9])?")
_NAME: TypeAdapter[str] = TypeAdapter(ImageName)


def why_no_label(text: str) -> str | None:
    """Return why a text is no label; None if it is one."""
    if _V.match(text):
        return f"{text!r} is a tag; a label has no v: {_V.sub('', text, count=1)}"
    if not _LABEL.fullmatch(text):
        return (
            f"{text!r} is no label: lower-case letters, digits, dots and inner hyphens, at most "
            f"{MAX_LABEL_LENGTH}, as in 0.0.74"
        )
    return None


def _label(text: str) -> str:
    if why := why_no_label(text):
        raise ValueError(why)
    return text


ImageLabel = Annotated[str, AfterValidator(_label)]
"""Label of a build, as in `0.0.74`: the newest tag without its `v`."""


def label_of_tag(tag: str, changes: int) -> str:
    """Return the label of a build; `why_no_label` tells whether it is one.

    Args:
        tag: the newest one.
        changes: how many commits since then changed an input of the image. An image's name never
            names another content, so the label counts them: `0.0.74-2`.
    """
    label = _V.sub("", tag, count=1)
    return f"{label}-{changes}" if changes else label


def image_name(label: str, architecture: ArchitectureName, prefix: str = DEFAULT_PREFIX) -> str:
    """Return the name of an image, as in `relight-base-0.0.74-amd64`.

    Raises:
        ValueError: the prefix or the label makes it no name.
    """
    name = f"{prefix}-{label}-{architecture}"
    try:
        return _NAME.validate_python(name)
    except ValidationError:
        msg = f"{name!r} is no name of an image: at most 48 lower-case letters, digits, . and -"
        raise ValueError(msg) from None
