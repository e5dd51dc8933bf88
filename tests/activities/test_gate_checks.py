"""Gate checks: queries of a fake Prometheus, and real programs."""

import asyncio
import json
import socket
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from activities.rollout.checks import (
    CheckNotYetError,
    CheckUnansweredError,
    CommandCheck,
    GateCheckActivities,
)
from activities.rollout.prometheus import MAX_ANSWER_BYTES, Bounds, PrometheusCheck
from relight.domain.rollout.gate import CheckGateInput, GateChecked
from starter.local.children import wait_until
from tests.support.fake_prometheus import (
    FakePrometheus,
    fake_prometheus,
    scalar,
    vector,
)
from tests.support.processes import alive

INPUT = CheckGateInput(name="errors", release_tag="v0.0.74", scope="track:beta", wave=2)
SECONDS = timedelta(seconds=10)


# ---------------------------------------------------------------- Prometheus


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    with fake_prometheus() as served:
        yield served


async def ask(prometheus: FakePrometheus, query: str = "up", **bounds: float) -> GateChecked:
    check = PrometheusCheck(prometheus.url, query, Bounds(**bounds or {"max_value": 0.01}), SECONDS)
    return await check(INPUT)


@pytest.mark.parametrize(
    ("answer", "bounds", "passed", "detail"),
    [
        (vector("0.002"), {"max_value": 0.01}, True, "0.002; allowed: at most 0.01"),
        (vector("0.01"), {"max_value": 0.01}, True, "0.01; allowed: at most 0.01"),
        (scalar("0.02"), {"max_value": 0.01}, False, "0.02; allowed: at most 0.01"),
        (scalar("3"), {"min_value": 2}, True, "3; allowed: at least 2"),
        (
            scalar("3"),
            {"min_value": 1, "max_value": 2},
            False,
            "3; allowed: at least 1 and at most 2",
        ),
        (vector("0", "1", "2"), {"min_value": 0}, True, '0 of {instance="i0"}, 1 of'),
        (
            vector("9", "8", "7", "6", "0"),
            {"max_value": 1},
            False,
            "and 1 more; allowed: at most 1",
        ),
        (vector("0", "5"), {"max_value": 1}, False, '5 of {instance="i1"}; allowed: at most 1'),
        (vector(), {"max_value": 1}, False, "the query returned no sample"),
        (vector("NaN"), {"max_value": 1}, False, "nan; allowed: at most 1"),
        (vector("NaN"), {"min_value": 1}, False, "nan; allowed: at least 1"),
        (vector("0", "NaN"), {"min_value": 0}, False, 'nan of {instance="i1"}'),
        (vector("+Inf"), {"max_value": 1}, False, "inf; allowed: at most 1"),
        (vector("-Inf"), {"min_value": 1}, False, "-inf; allowed: at least 1"),
        (vector("5", job="api"), {"max_value": 1}, False, '5 of {job="api"}'),
        ({**vector("0"), "warnings": ["a store is out"]}, {"max_value": 1}, True, "a store is out"),
    ],
)
async def test_every_sample_must_be_within_the_bounds(
    prometheus: FakePrometheus, answer, bounds, passed, detail
) -> None:
    prometheus.answer = answer
    checked = await ask(prometheus, **bounds)
    assert checked.name == "errors"
    assert checked.passed is passed
    assert detail in checked.detail


async def test_the_query_contains_the_release_and_the_scope(prometheus: FakePrometheus) -> None:
    query = 'x{v="$release", s="$scope", r=~"^a$|$releases"} > 1'
    await ask(prometheus, query)
    assert prometheus.queries == ['x{v="v0.0.74", s="track:beta", r=~"^a$|$releases"} > 1']


REFUSED = {"status": "error", "errorType": "bad_data", "error": 'parse error: unexpected "}"'}


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (400, REFUSED, 'Prometheus answers 400 Bad Request: parse error: unexpected "}"'),
        (503, b"<html>no upstream</html>", "503 Service Unavailable: <html>no upstream</html>"),
        (302, b"", "302 Found"),
        (200, b"<html>please log in</html>", "neither a vector of numbers nor a scalar: <html>"),
        (200, {"status": "success", "data": {"resultType": "matrix", "result": []}}, "neither"),
        (
            200,
            {
                "status": "success",
                "data": {"resultType": "vector", "result": [{"metric": {}, "histogram": [1, {}]}]},
            },
            "neither",
        ),
        (200, b"[" * 100_000, "neither"),
        (200, b"\xff\xfe", "neither"),
        (200, b" " * (MAX_ANSWER_BYTES + 1), "more than"),
    ],
)
async def test_an_error_is_not_a_result(prometheus: FakePrometheus, status, answer, words) -> None:
    prometheus.status, prometheus.answer = status, answer
    with pytest.raises(CheckUnansweredError, match=r"^check errors: ") as caught:
        await ask(prometheus)
    assert words in str(caught.value)
    assert caught.value.retryable
    assert caught.value.fault_class == "controller"


async def test_an_unreachable_server_is_not_a_result_and_its_password_is_not_shown() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Bound, but not listening.
        url = f"http://user:squirrel@127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CheckUnansweredError, match="Prometheus cannot be reached") as caught:
            await PrometheusCheck(url, "up", Bounds(max_value=1), SECONDS)(INPUT)
    assert "squirrel" not in str(caught.value)


async def test_a_silent_server_times_out() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        check = PrometheusCheck(url, "up", Bounds(max_value=1), timedelta(seconds=0.3))
        with pytest.raises(CheckUnansweredError, match=r"no answer from Prometheus after 0\.3 s"):
            await check(INPUT)


# ---------------------------------------------------------------- commands


async def run(script: str, *words: str, seconds: float = 10) -> GateChecked:
    argv = ("/bin/sh", "-c", script, "smoke", *words)
    return await CommandCheck(argv, timedelta(seconds=seconds))(INPUT)


@pytest.mark.parametrize(
    ("script", "passed", "detail"),
    [
        ("echo 42 requests", True, "exit code 0: 42 requests"),
        ("echo one; echo two >&2; exit 3", False, "exit code 3: one two"),
        ("kill -SEGV $$", False, "killed by SIGSEGV"),
    ],
)
async def test_the_exit_code_is_the_result(script: str, passed: bool, detail: str) -> None:
    assert await run(script) == GateChecked(name="errors", passed=passed, detail=detail)


async def test_exit_code_75_means_not_yet() -> None:
    with pytest.raises(CheckNotYetError, match=r"^check errors: exit code 75: too few") as caught:
        await run("echo too few; exit 75")
    assert caught.value.retryable


async def test_the_program_gets_the_rollout_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELIGHT_STORE_URL", "postgresql://relight:squirrel@db/relight")
    code = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"
    written = tmp_path / "environment"
    # Without a shell, which would set its own variables.
    assert (await CommandCheck((sys.executable, "-c", code, str(written)), SECONDS)(INPUT)).passed
    environment = json.loads(written.read_text())
    variables = {name: value for name, value in environment.items() if name.startswith("RELIGHT")}
    assert variables == {
        "RELIGHT_ROLLOUT_TAG": "v0.0.74",
        "RELIGHT_ROLLOUT_CONFIGURATION": "",
        "RELIGHT_ROLLOUT_SCOPE": "track:beta",
        "RELIGHT_ROLLOUT_WAVE": "2",
    }
    assert set(environment) - {"LC_CTYPE"} == {"PATH", "LANG", *variables}


async def test_a_hanging_program_does_not_pass_and_is_killed_with_its_children(
    tmp_path: Path,
) -> None:
    pids = tmp_path / "pids"
    checked = await run('sleep 1000 & echo $$ $! > "$1"; echo hm; wait', str(pids), seconds=0.5)
    assert (checked.passed, checked.detail) == (False, "not ended after 0.5 s: hm")

    async def gone() -> bool:
        return not any(map(alive, map(int, pids.read_text().split())))

    await wait_until(gone, timedelta(seconds=5))


async def test_a_program_that_cannot_be_run_is_not_a_result() -> None:
    with pytest.raises(CheckUnansweredError, match="/no/such cannot be run: no such file"):
        await CommandCheck(("/no/such",), SECONDS)(INPUT)


# ---------------------------------------------------------------- the activity


async def test_a_slow_check_ends_with_a_cancellation(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    argv = ("/bin/sh", "-c", 'echo $$ > "$1"; sleep 1000', "smoke", str(pid))
    checks = GateCheckActivities({"errors": CommandCheck(argv, timedelta(minutes=1))})
    environment = ActivityEnvironment()
    running = asyncio.ensure_future(environment.run(checks.check_gate, INPUT))

    async def is_running() -> bool:
        return pid.exists() and bool(pid.read_text())

    await wait_until(is_running, timedelta(seconds=10))
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not alive(int(pid.read_text()))


async def test_a_check_unknown_to_the_worker_is_not_a_result() -> None:
    with pytest.raises(CheckUnansweredError, match="has no errors"):
        await ActivityEnvironment().run(GateCheckActivities({}).check_gate, INPUT)


# ---------------------------------------------------------------- hostile answers


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_that_is_too_large_is_no_answer(
    prometheus: FakePrometheus, status: int
) -> None:
    prometheus.answer, prometheus.status = b"x" * 50_000_000, status
    with pytest.raises(CheckUnansweredError, match="has more than 1048576 bytes"):
        await ask(prometheus)


async def test_labels_and_errors_are_shown_with_escapes(prometheus: FakePrometheus) -> None:
    prometheus.answer = vector("0.002", path="\x1b[2J\u202e")
    assert r'path="\x1b[2J\u202e"' in (await ask(prometheus)).detail
    prometheus.answer, prometheus.status = b'{"error": "\x9b2J"}'.decode("latin-1").encode(), 400
    with pytest.raises(CheckUnansweredError) as caught:
        await ask(prometheus)
    assert r"\x9b2J" in str(caught.value)


async def test_what_a_program_prints_is_shown_with_escapes() -> None:
    check = CommandCheck(("printf", r"\033[2J\233\377"), SECONDS)
    assert (await check(INPUT)).detail == r"exit code 0: \x1b[2J\x9b\xff"
