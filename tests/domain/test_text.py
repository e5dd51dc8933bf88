"""Texts with a limit in bytes, and faults that are made of them."""

import pytest

from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.text import first_words, head, last_lines, tail


@pytest.mark.parametrize("text", ["short", "x" * 100, "é" * 100, "日本" * 50, "a" + "é" * 99])
def test_a_cut_text_fits_says_so_and_is_not_cut_again(text):
    for cut in (head, tail):
        kept = cut(text, 20)
        assert len(kept.encode()) <= 20
        assert (kept == text) == ("..." not in kept)
        assert cut(kept, 20) == kept
    assert text.startswith(head(text, 20).removesuffix("..."))
    assert text.endswith(tail(text, 20).removeprefix("..."))


def test_the_last_lines_are_kept_and_each_is_cut():
    lines = ["first", "second" * 10, "third"]
    assert last_lines(lines, 10, 19) == ("seconds...", "third")
    assert last_lines(lines, 10, 14) == ("third",)
    assert last_lines([], 10, 14) == ()


def test_the_first_words_of_a_command_are_kept():
    assert first_words(["a", "b"], 10, 2) == ("a", "b")
    cut = first_words(["a", "b", "c"], 10, 2)
    assert cut == ("a", "b", "...")
    assert first_words(cut, 10, 2) == cut


def test_a_fault_is_bounded_whatever_a_host_prints_and_its_brief_form_is_less_than_1_kib():
    endless = "é" * 1_000_000
    fault = Fault(
        kind="unit-crash-looping",
        fault_class=FaultClass.RELEASE,
        summary=endless,
        attempted=endless,
        host="192.0.2.7",
        machine_key="r-1-g1",
        argv=(endless,) * 100,
        stderr_tail=endless,
        journal_tail=(endless,) * 20,
    )
    assert len(fault.model_dump_json().encode()) < 22 * 1024
    assert Fault.model_validate(fault.model_dump(mode="json")) == fault
    assert len(fault.brief.model_dump_json().encode()) < 1024
    assert (fault.brief.kind, fault.brief.machine_key) == ("unit-crash-looping", "r-1-g1")
