"""`relight doctor`, and the same checks at the start of a worker."""

import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from devkit.chaos.distrust.worker_clock import worker_clock
from starter.local.home import write_env
from tests.starter.stores import refused
from tests.support.apt_repository import KeyRing, Repository, key_ring, serve
from tests.support.command_line import CommandLine, Ended, typed_in
from tests.support.fleets import OwnFleet, own_fleet, serve_one

USER = "repository@example.org"
CHECKS = [
    *("context", "settings", "SSH client key", "host-key secret", "store", "Temporal"),
    *("search attributes", "payload keys", "fleet", "repository key", "repository"),
    *("providers", "worker", "clocks", "disk"),
]


@pytest.fixture(scope="module")
def keys() -> Iterator[KeyRing]:
    with key_ring() as keys:
        keys.make("repository")
        yield keys


@pytest.fixture
async def fleet(keys: KeyRing, tmp_path: Path) -> AsyncIterator[OwnFleet]:
    """A fleet that has all but a provider and a worker."""
    repository = Repository(tmp_path / "apt")
    repository.add("0.0.73", "amd64")
    repository.publish(partial(keys.sign, users=[USER]))
    key = tmp_path / "key.asc"
    key.write_bytes(keys.public(USER, armoured=True))
    with serve(repository.root) as served:
        async with own_fleet(tmp_path / "fleet" / ".relight") as fleet:
            serve_one(fleet.store)
            source = {
                "RELIGHT_GITHUB__REPOSITORY": "",
                "RELIGHT_REPOSITORY__URL": served.url,
                "RELIGHT_REPOSITORY__SIGNING_KEY": str(key),
            }
            write_env(fleet.home, source)
            yield fleet


async def doctor(fleet: OwnFleet, **variables: str) -> Ended:
    return await typed_in(fleet.home.parent, "doctor", "--json", **variables)


def checks_of(ended: Ended) -> dict[str, Any]:
    return {each["name"]: each for each in ended.json["checks"]}


def failed_in(ended: Ended) -> set[str]:
    return {name for name, each in checks_of(ended).items() if each["status"] == "failed"}


async def test_a_fleet_in_order_has_nothing_failed_and_each_check_says_what_it_found(
    fleet: OwnFleet, keys: KeyRing
) -> None:
    ended = await doctor(fleet)
    assert (ended.code, ended.err) == (0, "")
    found = checks_of(ended)
    assert list(found) == CHECKS
    assert [name for name in found if found[name]["status"] != "ok"] == ["providers", "worker"]
    assert all(each["found"] for each in found.values())
    assert found["context"]["found"] == f"local: {fleet.home}, because of the current folder"
    assert found["Temporal"]["found"] == f"{fleet.address} answers, namespace default"
    assert fleet.fleet_id in found["fleet"]["found"]
    assert keys.fingerprint(USER) in found["repository key"]["found"]
    assert found["repository"]["found"].endswith("1 releases, the newest is v0.0.73")
    assert "revision 00" in found["store"]["found"]
    assert "Temporal's clock is the same" in found["clocks"]["found"]
    assert found["worker"]["to_do"] == "start one with `relight worker`"
    shown = await typed_in(fleet.home.parent, "doctor")
    assert shown.code == 0
    assert "to do, worker: start one with `relight worker`" in shown.out


async def test_each_setting_has_its_origin_and_no_secret_is_shown(
    fleet: OwnFleet, tmp_path: Path
) -> None:
    write_env(fleet.home, {"RELIGHT_LIMITS__LOGINS": "9", "RELIGHT_SWEEP_GRACE": "PT2H"})
    variables = {
        "RELIGHT_LIMITS__LOGINS": "12",
        "RELIGHT_SSH": '{"port": 2222}',
        "RELIGHT_STORE_URL": fleet.store_url,
        "RELIGHT_CONNECTIVITY_CHECKS": '["https://ann:hunter2@up.example"]',
        "RELIGHT_LIMIT__LOGINS": "5",
        "TEMPORAL_ADDRESS": fleet.address,
        "TEMPORAL_API_KEY": "hunter2",
    }
    ended = await doctor(fleet, **variables)
    assert "hunter2" not in ended.out + ended.err
    origins = {each["name"]: (each["value"], each["origin"]) for each in ended.json["settings"]}
    assert origins["RELIGHT_LIMITS__LOGINS"] == ("12", "environment")
    assert origins["RELIGHT_SWEEP_GRACE"] == ("PT2H", str(fleet.home / "env"))
    assert origins["RELIGHT_SSH__PORT"] == ("2222", "environment")
    assert origins["RELIGHT_TASK_QUEUE"] == ("relight", "default")
    assert origins["RELIGHT_STORE_URL"] == ("(not shown)", "environment")
    assert origins["RELIGHT_CONNECTIVITY_CHECKS"][0] == "https://***@up.example"
    settings = checks_of(ended)["settings"]
    assert settings["status"] == "warning"
    assert "RELIGHT_LIMIT__LOGINS" in settings["found"]
    service_file = fleet.home / "service.toml"
    service_file.write_text('unit = "box.service"\n')
    ended = await doctor(fleet)
    unit = {each["name"]: each for each in ended.json["settings"]}["RELIGHT_SERVICE__UNIT"]
    assert (unit["value"], unit["origin"]) == ("box.service", str(service_file))
    service_file.write_text('unti = "box.service"\n')
    ended = await doctor(fleet)
    assert ended.code == 3
    assert f"{service_file} has keys that are no settings of the service: unti" in ended.err
    service_file.unlink()
    # Of a context, the home is no variable's.
    of_local = (await doctor(fleet)).json["settings"]
    assert of_local[0] == {
        "name": "RELIGHT_HOME",
        "value": str(fleet.home),
        "origin": "context local",
    }


async def test_what_has_failed_is_named_with_what_to_do(fleet: OwnFleet, tmp_path: Path) -> None:
    (fleet.home / "ssh_client_key").write_text("no key\n")
    (fleet.home / "host_key_secret").chmod(0o644)
    (tmp_path / "key.asc").unlink()
    with sqlite3.connect(fleet.home / "fleet.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    ended = await doctor(fleet)
    assert ended.code == 1
    assert failed_in(ended) == {"SSH client key", "store", "repository key", "repository"}
    found = checks_of(ended)
    assert "newer version" in found["store"]["found"]
    assert "`relight store upgrade`" in found["store"]["to_do"]
    assert found["fleet"]["status"] == "warning"
    assert "not checked" in found["fleet"]["found"]
    secret = found["host-key secret"]
    assert (secret["status"], secret["to_do"]) == (
        "warning",
        f"chmod 600 {fleet.home / 'host_key_secret'}",
    )
    shown = await typed_in(fleet.home.parent, "doctor")
    assert shown.code == 1
    assert "to do, SSH client key: set RELIGHT_SSH__CLIENT_KEY" in shown.out


async def test_a_temporal_that_does_not_answer_is_said(fleet: OwnFleet) -> None:
    fleet.server.process.terminate()
    await fleet.server.process.wait()
    ended = await doctor(fleet)
    assert ended.code == 1
    assert failed_in(ended) == {"Temporal"}
    assert f"does not answer at {fleet.address}" in checks_of(ended)["Temporal"]["found"]
    assert "`relight up`" in checks_of(ended)["Temporal"]["to_do"]


async def test_two_fleets_are_told_apart(fleet: OwnFleet, tmp_path: Path) -> None:
    async with own_fleet(tmp_path / "other") as other:
        ended = await doctor(fleet, TEMPORAL_ADDRESS=other.address)
        assert failed_in(ended) == {"fleet"}
        assert other.fleet_id in checks_of(ended)["fleet"]["found"]
        assert fleet.fleet_id in checks_of(ended)["fleet"]["found"]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler for the clock")
@pytest.mark.parametrize(
    ("off", "differs"), [(timedelta(hours=1), "behind"), (timedelta(hours=-1), "ahead of")]
)
async def test_a_clock_that_differs_from_temporals_is_found(
    fleet: OwnFleet, off: timedelta, differs: str
) -> None:
    with worker_clock() as clock:
        clock.jump(off)
        ended = await doctor(fleet, **clock.variables)
    assert ended.code == 1
    assert "clocks" in failed_in(ended)
    assert differs in checks_of(ended)["clocks"]["found"]


async def test_an_event_of_the_future_is_found(fleet: OwnFleet) -> None:
    later = datetime.now(UTC) + timedelta(hours=2)
    with sqlite3.connect(fleet.home / "fleet.db") as database:
        database.execute("CREATE TEMP TABLE latest AS SELECT * FROM events LIMIT 1")
        number = "(SELECT max(event_id) + 1 FROM events)"
        database.execute(
            f"UPDATE latest SET event_id = {number}, at = ?", (f"{later:%Y-%m-%d %H:%M:%S.%f}",)
        )
        database.execute("INSERT INTO events SELECT * FROM latest")
    database.close()
    ended = await doctor(fleet)
    assert failed_in(ended) == {"clocks"}
    assert f"{later:%Y-%m-%d %H:%M:%S}" in checks_of(ended)["clocks"]["found"]


async def test_outside_of_a_context_it_is_refused_and_makes_nothing(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(await typed_in(empty, "doctor"), 3, "there is no fleet here", "`relight up`")
    refused(await typed_in(empty, "doctor", "--json"), 3, "there is no fleet here")
    assert list(empty.iterdir()) == []


# ---------------------------------------------------------------- a worker


async def test_a_worker_says_in_one_line_what_it_serves(fleet: OwnFleet) -> None:
    relight = CommandLine(fleet.home)
    async with relight.running("worker") as worker:
        assert worker.stderr is not None
        lines = [line.decode() async for line in _until(worker.stderr, "serves context")]
    line = lines[-1]
    for text in (
        "environment",
        fleet.fleet_id,
        str(fleet.home / "fleet.db"),
        f"{fleet.address}, namespace default, task queue relight",
        "providers: none",
        "releases from http://127.0.0.1:",
    ):
        assert text in line
    ended = await doctor(fleet)
    assert "on relight" in checks_of(ended)["worker"]["found"]


async def _until(stream: Any, text: str) -> AsyncIterator[bytes]:
    async for line in stream:
        yield line
        if text in line.decode():
            return


async def test_a_worker_that_cannot_serve_says_all_that_is_wrong(
    fleet: OwnFleet, tmp_path: Path
) -> None:
    (fleet.home / "ssh_client_key").write_text("no key\n")
    (tmp_path / "key.asc").write_text("no key\n")
    ended = await CommandLine(fleet.home)("worker")
    refused(ended, 3, "SSH client key", "repository key", "`relight doctor`")
    assert "serves" not in ended.err
    doctor_failed = failed_in(await doctor(fleet))
    assert {"SSH client key", "repository key"} <= doctor_failed


async def test_a_worker_starts_while_the_repository_does_not_answer(
    fleet: OwnFleet, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "apt")
    async with CommandLine(fleet.home).running("worker") as worker:
        assert worker.stderr is not None
        lines = [line async for line in _until(worker.stderr, "serves context")]
    assert b"serves context" in lines[-1]
    assert failed_in(await doctor(fleet)) == {"repository"}
