"""Log lines: one event each, and nothing but printable text."""

import json
import subprocess
import sys

import pytest

_PROGRAM = r"""
import logging, sys
import structlog
from relight.engine.logs import configure_logs

configure_logs(sys.argv[1])
hostile = "\x1b]52;c;x\x07\u202e\n2026-01-01 [info] forged"
structlog.get_logger("relight").warning(hostile, host=hostile, many=[hostile])
logging.getLogger("asyncssh").error("it said %s", hostile)
try:
    raise ValueError(hostile)
except ValueError:
    logging.getLogger("relight").exception("a bug")
"""


def logged(form: str) -> str:
    run = [sys.executable, "-c", _PROGRAM, form]
    return subprocess.run(run, check=True, capture_output=True, text=True).stderr


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_line_is_printable_and_none_is_forged(form: str) -> None:
    text = logged(form)
    assert text.replace("\n", "").isprintable()
    assert r"\x1b]52;c;x\x07\u202e" in text.replace("\\\\", "\\")
    events = [line for line in text.splitlines() if "it said" in line or "a bug" in line]
    assert len(events) == 2
    forged = [line for line in text.splitlines() if line.startswith("2026-01-01 [info]")]
    # The message of an error is the last line of its traceback, as it was raised.
    assert len(forged) == (1 if form == "console" else 0)


def test_a_line_of_json_has_the_text_with_escapes() -> None:
    first = json.loads(logged("json").splitlines()[0])
    shown = r"\x1b]52;c;x\x07\u202e\n2026-01-01 [info] forged"
    assert (first["event"], first["host"]) == (shown, shown)
