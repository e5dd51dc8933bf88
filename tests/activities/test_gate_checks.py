"""A gate's checks: queries of something that answers as Prometheus does, and real programs."""

import asyncio
import json
import socket
import sys
import time
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
from activities.rollout.prometheus import Bounds, PrometheusCheck
from relight.domain.rollout.gate import CheckGateInput, GateChecked
from starter.local.children import wait_until
from tests.support.fake_prometheus import (
    FakePrometheus,
    fake_prometheus,
    scalar,
    vector,
)
from tests.support.processes import alive

ASKED = CheckGateInput(name="errors", release_tag="v0.0.74", scope="track:beta", wave=2)
SECONDS = timedelta(seconds=10)


# ---------------------------------------------------------------- Prometheus


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    with fake_prometheus() as served:
        yield served


async def ask(prometheus: FakePrometheus, query: str = "up", **bounds: float) -> GateChecked:
    check = PrometheusCheck(prometheus.url, query, Bounds(**bounds or {"at_most": 0.01}), SECONDS)
    return await check(ASKED)


@pytest.mark.parametrize(
    ("answer", "bounds", "passed", "seen"),
    [
        (vector("0.002"), {"at_most": 0.01}, True, "0.002; at most 0.01 passes"),
        (vector("0.01"), {"at_most": 0.01}, True, "0.01; at most 0.01 passes"),
        (scalar("0.02"), {"at_most": 0.01}, False, "0.02; at most 0.01 passes"),
        (scalar("3"), {"at_least": 2}, True, "3; at least 2 passes"),
        (scalar("3"), {"at_least": 1, "at_most": 2}, False, "3; at least 1 and at most 2 passes"),
        (vector("0", "1", "2"), {"at_least": 0}, True, '0 of {instance="i0"}, 1 of'),
        (vector("9", "8", "7", "6", "0"), {"at_most": 1}, False, "and 1 more; at most 1 passes"),
        (vector("0", "5"), {"at_most": 1}, False, '5 of {instance="i1"}; at most 1 passes'),
        (vector(), {"at_most": 1}, False, "the query finds no sample"),
        (vector("NaN"), {"at_most": 1}, False, "nan; at most 1 passes"),
        (vector("NaN"), {"at_least": 1}, False, "nan; at least 1 passes"),
        (vector("0", "NaN"), {"at_least": 0}, False, 'nan of {instance="i1"}'),
        (vector("+Inf"), {"at_most": 1}, False, "inf; at most 1 passes"),
        (vector("-Inf"), {"at_least": 1}, False, "-inf; at least 1 passes"),
        (vector("5", job="api"), {"at_most": 1}, False, '5 of {job="api"}'),
        ({**vector("0"), "warnings": ["a store is out"]}, {"at_most": 1}, True, "a store is out"),
    ],
)
async def test_every_sample_has_to_be_within_the_bounds(
    prometheus: FakePrometheus, answer, bounds, passed, seen
) -> None:
    prometheus.answer = answer
    checked = await ask(prometheus, **bounds)
    assert checked.name == "errors"
    assert checked.passed is passed
    assert seen in checked.seen


async def test_the_query_is_of_the_rollout(prometheus: FakePrometheus) -> None:
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
    ],
)
async def test_an_error_is_no_verdict(prometheus: FakePrometheus, status, answer, words) -> None:
    prometheus.status, prometheus.answer = status, answer
    with pytest.raises(CheckUnansweredError, match=r"^check errors: ") as caught:
        await ask(prometheus)
    assert words in str(caught.value)
    assert caught.value.retryable
    assert caught.value.fault_class == "controller"


async def test_who_cannot_be_reached_gives_no_verdict_and_no_password_away() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        url = f"http://user:squirrel@127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CheckUnansweredError, match="Prometheus cannot be asked") as caught:
            await PrometheusCheck(url, "up", Bounds(at_most=1), SECONDS)(ASKED)
    assert "squirrel" not in str(caught.value)


async def test_who_hangs_is_waited_for_no_longer_than_is_set() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        check = PrometheusCheck(url, "up", Bounds(at_most=1), timedelta(seconds=0.3))
        with pytest.raises(CheckUnansweredError, match=r"no answer of Prometheus after 0\.3 s"):
            await check(ASKED)


# ---------------------------------------------------------------- commands


async def run(script: str, *words: str, seconds: float = 10) -> GateChecked:
    argv = ("/bin/sh", "-c", script, "smoke", *words)
    return await CommandCheck(argv, timedelta(seconds=seconds))(ASKED)


@pytest.mark.parametrize(
    ("script", "passed", "seen"),
    [
        ("echo 42 requests", True, "exit code 0: 42 requests"),
        ("echo one; echo two >&2; exit 3", False, "exit code 3: one two"),
        ("kill -SEGV $$", False, "killed by SIGSEGV"),
    ],
)
async def test_its_exit_code_is_its_answer(script: str, passed: bool, seen: str) -> None:
    assert await run(script) == GateChecked(name="errors", passed=passed, seen=seen)


async def test_by_exit_code_75_it_asks_for_patience() -> None:
    with pytest.raises(CheckNotYetError, match=r"^check errors: exit code 75: too few") as caught:
        await run("echo too few; exit 75")
    assert caught.value.retryable


async def test_it_is_told_of_the_rollout_and_of_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELIGHT_STORE_URL", "postgresql://relight:squirrel@db/relight")
    code = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"
    seen = tmp_path / "seen"
    # Not from a shell, which would set variables of its own.
    assert (await CommandCheck((sys.executable, "-c", code, str(seen)), SECONDS)(ASKED)).passed
    environment = json.loads(seen.read_text())
    told = {name: value for name, value in environment.items() if name.startswith("RELIGHT")}
    assert told == {
        "RELIGHT_ROLLOUT_TAG": "v0.0.74",
        "RELIGHT_ROLLOUT_SCOPE": "track:beta",
        "RELIGHT_ROLLOUT_WAVE": "2",
    }
    assert set(environment) - {"LC_CTYPE"} == {"PATH", "LANG", *told}


async def test_one_that_hangs_does_not_pass_and_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    checked = await run('sleep 1000 & echo $$ $! > "$1"; echo hm; wait', str(pids), seconds=0.5)
    assert (checked.passed, checked.seen) == (False, "not ended after 0.5 s: hm")

    async def gone() -> bool:
        return not any(map(alive, map(int, pids.read_text().split())))

    await wait_until(gone, timedelta(seconds=5))


async def test_one_that_cannot_be_run_says_nothing_about_the_release() -> None:
    with pytest.raises(CheckUnansweredError, match="/no/such cannot be run: No such file"):
        await CommandCheck(("/no/such",), SECONDS)(ASKED)


# ---------------------------------------------------------------- the activity


async def test_a_check_that_takes_its_time_is_heard_of_and_ends_with_a_cancel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.rollout.checks.BEAT", timedelta(seconds=0.1))
    pid, beats = tmp_path / "pid", []
    argv = ("/bin/sh", "-c", 'echo $$ > "$1"; sleep 1000', "smoke", str(pid))
    checks = GateCheckActivities({"errors": CommandCheck(argv, timedelta(minutes=1))})
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *_: beats.append(time.monotonic())
    asking = asyncio.ensure_future(environment.run(checks.check_gate, ASKED))

    async def under_way() -> bool:
        return len(beats) >= 3 and pid.exists() and bool(pid.read_text())

    await wait_until(under_way, timedelta(seconds=10))
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not alive(int(pid.read_text()))


async def test_one_that_this_worker_does_not_know_is_not_guessed() -> None:
    with pytest.raises(CheckUnansweredError, match="has no errors"):
        await ActivityEnvironment().run(GateCheckActivities({}).check_gate, ASKED)
