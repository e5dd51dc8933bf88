"""The lines of README.md and of the runbook work as typed, in the order of the page."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from starter.local.home import prepare_home
from starter.local.temporal import EmbeddedTemporal
from tests.starter.pages.page import ROOT, lines_of
from tests.starter.pages.reader import Reader, read_through, reader

NOT_TYPED = {
    "make demo": "it needs root and boots machines; the acceptance runs it",
    "make test": "this is one of its tests",
    "export RELIGHT_STORE_PASSWORD_FILE=/etc/relight/store-password": (
        "the store of this test is a file: test_compose_services"
    ),
    ".venv/bin/relight down": "the fleet of this test was not started by `relight up`: test_cli_up",
    'relight route ssh eu-1 --reason "its load is odd"': "a shell needs a host: test_cli_login",
    "relight route logs eu-1 --follow": "simulated hosts have no sshd: test_cli_login",
}

A_CUSTOMER_DEBUGS = (
    'relight exclude add --route eu-7 --for 2d --owner ann --reason "a customer debugs on it"'
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
async def typist(
    published: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Reader]:
    """A reader with a fleet."""
    for module in ("activities.machine.polls.POLL", "activities.fleet.verification.PAUSE"):
        monkeypatch.setattr(module, timedelta(milliseconds=10))
    async with reader(tmp_path, published) as typist:
        yield typist


# ---------------------------------------------------------------- README.md


async def a_demo_has_run(reader: Reader) -> None:
    await reader.succeeds("relight track set beta")
    for route_id, track in (("east-1", "stable"), ("west-1", "stable"), ("east-3", "beta")):
        await reader.harness.serving_route(
            region=f"lab-{route_id[:4]}", track=track, route_id=route_id
        )
    await reader.succeeds("relight rollout start v0.0.74 --wait")


async def a_rollout_is_under_way(reader: Reader) -> None:
    gate = reader.harness.hosts.hold_installs()
    await reader.succeeds("relight rollout start v0.0.78 --track beta")
    await gate.reached()


async def that_rollout_has_ended(reader: Reader) -> None:
    await reader.succeeds("relight rollout abort")
    gate = reader.harness.hosts.gate
    assert gate is not None
    gate.open()
    await reader.harness.until_idle()


async def eu_1_has_its_third_machine(reader: Reader) -> None:
    """The next one that is replaced is left: two an hour are destroyed in a region."""
    for _ in range(2):
        await reader.succeeds("relight route replace eu-1 --reason 'a test'")
    await reader.harness.until_idle()
    assert [each.key for each in await reader.harness.machines_of("eu-1")] == ["eu-1-g3"]


async def eu_7_serves(reader: Reader) -> None:
    await reader.harness.serving_route(region="lab-east", route_id="eu-7")


async def nothing_is_exported(reader: Reader) -> None:
    reader.exported.clear()


async def test_readme(
    typist: Reader,
    own_temporal: EmbeddedTemporal,
    published: Mapping[str, str],
    tmp_path: Path,
) -> None:
    keys = prepare_home(tmp_path / "keys")
    typist.filled = {
        **typist.filled,
        "temporal.example:7233": own_temporal.address,
        "/srv/fleet": str(tmp_path / "srv"),
        "TEMPORAL_NAMESPACE=fleet": "TEMPORAL_NAMESPACE=default",
        "postgresql://relight@db.example/relight": f"sqlite:///{tmp_path / 'own.db'}",
        "https://packages.example/debian": published["RELIGHT_REPOSITORY__URL"],
        "/etc/relight/repository.asc": published["RELIGHT_REPOSITORY__SIGNING_KEY"],
        "/etc/relight/ssh_client_key": str(keys.client_key),
        "/etc/relight/host_key_secret": str(keys.host_key_secret),
    }
    prepared = {
        ".venv/bin/relight fleet status": a_demo_has_run,
        "relight context add prod --home /srv/fleet --temporal-address temporal.example:7233"
        " --temporal-namespace fleet": nothing_is_exported,
        'relight rollout pause --reason "graphs look odd"': a_rollout_is_under_way,
        'relight route rollback eu-1 --reason "v0.0.74 leaks"': that_rollout_has_ended,
        "relight pool set lab lab-east 2": eu_1_has_its_third_machine,
        A_CUSTOMER_DEBUGS: eu_7_serves,
    }
    await read_through(typist, list(lines_of(ROOT / "README.md")), prepared, NOT_TYPED)


# ---------------------------------------------------------------- docs/operations.md


async def a_rollout_has_converged(reader: Reader) -> None:
    for route_id in ("eu-1", "eu-2", "eu-3"):
        await reader.harness.serving_route(region="lab-east", route_id=route_id)
    await reader.succeeds("relight rollout start v0.0.74 --wait")


async def v76_has_failed(reader: Reader) -> None:
    ended = await reader.relight(
        *("rollout", "start", "v0.0.76", "--wave", "100%", "--keep-failed", "--wait")
    )
    assert ended.code == 1, ended


async def test_operations(typist: Reader) -> None:
    prepared = {
        "relight rollout why": a_rollout_has_converged,
        "relight rollout status v0.0.76": v76_has_failed,
    }
    await read_through(typist, list(lines_of(ROOT / "docs" / "operations.md")), prepared, {})
