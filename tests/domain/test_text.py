"""Texts that are visible and have a limit in bytes, and faults that are made of them."""

import html
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from relight.domain.base import Origin
from relight.domain.fault.error import DomainError
from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.text import (
    all_visible,
    fenced,
    first_words,
    fitted,
    head,
    last_lines,
    plain,
    tail,
    visible,
    visible_line,
    without_queries,
)

pytestmark = pytest.mark.attack("escape sequences from hosts and people")


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
    texts = (fault.summary, fault.attempted, *fault.argv, fault.stderr_tail, *fault.journal_tail)
    assert sum(len(text.encode()) for text in texts) <= 16 * 1024
    assert len(fault.model_dump_json().encode()) < 17 * 1024
    assert Fault.model_validate(fault.model_dump(mode="json")) == fault
    assert len(fault.brief.model_dump_json().encode()) < 1024
    assert (fault.brief.kind, fault.brief.machine_key) == ("unit-crash-looping", "r-1-g1")


any_text = st.text(st.characters(codec=None))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, German: straße, 日本語 👍", "plain text, German: straße, 日本語 👍"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("of\r\na console", "of\na console"),
        ("\x1b]52;c;cHduZWQ=\x07", r"\x1b]52;c;cHduZWQ=\x07"),
        ("over\rwritten", r"over\rwritten"),
        ("\x9b2J\x85\x7f\x00", r"\x9b2J\x85\x7f\x00"),
        ("exe.\u202egnp", r"exe.\u202egnp"),
        ("\u2066\u200f\u061c", r"\u2066\u200f\u061c"),
        ("a\u200bb\ufeff\u00ad", r"a\u200bb\ufeff\xad"),
        ("line\u2028paragraph\u2029", r"line\u2028paragraph\u2029"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("half a pair \ud800", r"half a pair \ud800"),
    ],
)
def test_every_control_character_is_shown_as_an_escape(text, shown):
    assert visible(text) == shown
    assert all_visible({"a": [text, 1, None]}) == {"a": [shown, 1, None]}


@given(any_text)
def test_a_visible_text_is_printable_can_be_encoded_and_does_not_change(text):
    shown = visible(text)
    assert shown.replace("\n", "").replace("\t", "").isprintable()
    assert visible(shown) == shown
    assert shown.encode().decode() == shown
    assert visible_line(text).isprintable()


def test_a_megabyte_of_control_characters_becomes_visible_in_a_moment():
    began = time.process_time()
    assert len(visible("\x1b" * 1_000_000)) == 4_000_000
    assert len(visible("\U000e0041" * 250_000)) == 2_500_000
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no URL? none", "no URL? none"),
        ("see https://a.example/b, http://c/?", "see https://a.example/b, http://c/?..."),
        ('{"url":"https://a/b?X-Sig=5e7a&y=1","n":"?"}', '{"url":"https://a/b?...","n":"?"}'),
        (r"'https:\/\/a\/b?sig=5e7a' failed", r"'https:\/\/a\/b?...' failed"),
        ("HTTPS%3a%2F%2Fa%2Fb%3fsig%3D5e7a x", "HTTPS%3a%2F%2Fa%2Fb%3f... x"),
    ],
)
def test_a_url_is_shown_without_its_query(text, shown):
    assert without_queries(text) == shown


def test_many_urls_are_shown_in_a_moment():
    began = time.process_time()
    assert without_queries("https:" * 200_000) == "https:" * 200_000
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "text",
    [
        "![x](http://evil.example/)",
        "<http://evil.example/>",
        "<img src=x>",
        "`code` **bold** __bold__ ~~gone~~",
        "&lt;script&gt;",
        "\\<b>",
        "a | b",
    ],
)
def test_a_line_has_no_meaning_in_markdown(text):
    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    assert markdown.render(f"x {plain(text)}") == f"<p>x {html.escape(text)}</p>\n"
    table = markdown.render(f"| a | b |\n|---|---|\n| {plain(text)} | c |")
    assert f"<td>{html.escape(text)}</td>" in table
    assert "<td>c</td>" in table


def test_an_address_in_a_line_does_not_become_a_link():
    assert plain("see https://a.example, www.b.example") == (
        r"see https\://a.example, www\.b.example"
    )


def test_a_text_cannot_end_its_code_block():
    lines = fenced("```\n# a heading\n`````").splitlines()
    assert lines[0] == lines[-1] == "``````"


@settings(deadline=None)
@given(st.recursive(any_text, lambda each: st.lists(each) | st.dictionaries(any_text, each)))
def test_a_value_that_is_too_long_is_cut_until_it_fits(value):
    short = {"value": value}
    assert len(json.dumps(fitted(short, 200))) <= 200
    assert fitted(short, 1_000_000) == all_visible(short)


def test_the_parts_of_a_value_that_are_short_stay():
    value = {"kind": "x", "lines": ["y" * 100_000] * 9, "log": "z" * 9_000_000, "count": 3}
    kept = fitted(value, 48 * 1024)
    assert (kept["kind"], kept["count"], len(kept["lines"])) == ("x", 3, 9)
    assert len(json.dumps(kept)) > 24 * 1024


def test_an_error_and_a_reason_are_visible_and_short():
    endless = "\x1b[2J" + "x" * 9_000_000
    assert str(DomainError(endless)).startswith(r"\x1b[2Jx")
    assert len(str(DomainError(endless))) == 4096
    origin = Origin(requested_by="\x1b[2Jann", reason="\u202e" + endless)
    assert origin.requested_by == r"\x1b[2Jann"
    assert len(origin.reason) == 1000
