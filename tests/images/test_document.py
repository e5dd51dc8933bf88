"""The page about images has the contract as it is."""

from pathlib import Path

import pytest

from relight.images.document import page_with_table

PAGE = Path(__file__).parents[2] / "docs/images.md"


def test_the_page_has_the_contract_as_it_is():
    text = PAGE.read_text()
    assert page_with_table(text) == text, "run `make docs`"


def test_a_page_without_a_place_for_it_is_refused():
    with pytest.raises(ValueError, match="no comments"):
        page_with_table("# Images\n")
