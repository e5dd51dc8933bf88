"""Labels of builds, and the names of images."""

import pytest
from pydantic import TypeAdapter, ValidationError

from relight.domain.image.label import (
    DEFAULT_PREFIX,
    MAX_LABEL_LENGTH,
    ImageLabel,
    image_name,
    label_of_tag,
    why_no_label,
)

LABEL: TypeAdapter[str] = TypeAdapter(ImageLabel)


@pytest.mark.parametrize("text", ["0.0.74", "0.0.74-2", "1.2.0-rc.1", "20261130", "test", "v"])
def test_a_label(text: str):
    assert why_no_label(text) is None
    assert LABEL.validate_python(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "V0.0.74", "0.0.74-", "-1", ".1", "0.0.74+b1", "0.0.74 ", "0.0.74\n", "../1", "0" * 25],
)
def test_no_label(text: str):
    assert "is no label" in (why_no_label(text) or "")
    with pytest.raises(ValidationError):
        LABEL.validate_python(text)


def test_a_tag_is_refused_with_the_label_that_it_means():
    assert why_no_label("v0.0.74") == "'v0.0.74' is a tag; a label has no v: 0.0.74"


def test_the_label_of_a_tag_counts_what_changed_since():
    assert label_of_tag("v0.0.74", 0) == "0.0.74"
    assert label_of_tag("v0.0.74", 3) == "0.0.74-3"


def test_the_longest_label_makes_a_name():
    name = image_name("1" * MAX_LABEL_LENGTH, "amd64")
    assert name.startswith(f"{DEFAULT_PREFIX}-1")
    assert name.endswith("-amd64")


def test_what_makes_no_name_is_refused():
    with pytest.raises(ValueError, match="is no name of an image"):
        image_name("0.0.74", "amd64", prefix="Base")
