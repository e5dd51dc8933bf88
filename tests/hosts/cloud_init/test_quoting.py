"""Quoting: no value can change the structure of the text that it is inserted into."""

import subprocess

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relight.hosts.templates import deb822_word, environment_value, yaml_text

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SHELL_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(ANY_TEXT)
def test_any_text_in_yaml_is_read_unchanged(text: str) -> None:
    written = yaml_text(text)
    assert written.isascii()
    assert written.isprintable()
    assert yaml.safe_load(f"before: 1\nvalue: {written}\nafter: [2]\n") == {
        "before": 1,
        "value": text,
        "after": [2],
    }


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ValueError, match="0xd83d"):
        yaml_text("\ud83d")


@example('"; touch x; $(touch x) `touch x` \\')
@example("a\\\nb\n# c\n")
@given(SHELL_TEXT)
@settings(max_examples=50, deadline=None)
def test_any_value_in_an_environment_file_is_read_unchanged(text: str) -> None:
    script = f'VALUE={environment_value(text)}\nprintf %s "$VALUE"'
    read = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True).stdout
    assert read.decode() == text


def test_a_nul_in_an_environment_file_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        environment_value("a\0b")


@pytest.mark.parametrize("text", ["", "a b", "a\nTrusted: yes", "a\tb", "a\u00a0b", "a\u2028b"])
def test_a_value_that_is_not_one_word_is_refused_in_a_source(text: str) -> None:
    with pytest.raises(ValueError, match="blank"):
        deb822_word(text)


@pytest.mark.parametrize("text", ["https://a.example:8080/x?y=z#1", "stable/updates", "./"])
def test_a_word_in_a_source_is_unchanged(text: str) -> None:
    assert deb822_word(text) == text
