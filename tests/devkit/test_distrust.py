"""Distrust rounds: what they make wrong is wrong, and a healthy machine that goes is found."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pytest

from devkit.chaos.distrust.fleet import distrust_fleet
from devkit.chaos.distrust.hostile_hosts import WAYS
from devkit.chaos.distrust.judge import Why
from devkit.chaos.distrust.rounds import Source, play_round, source_of
from devkit.chaos.distrust.worker_clock import worker_clock
from devkit.chaos.listing_lies import Lie, ListingLie

SEED = 7

MACHINES = [
    {"id": "1", "label": "a-g1", "status": "running", "tags": {"owner": "relight"}},
    {"id": "2", "label": "b-g1", "status": "running", "tags": {"owner": "relight"}},
]


def shown(lie: Lie, path: str, true: object) -> tuple[int, Any]:
    """Return the status and the JSON of an answer about these machines, of which `a-g1` is lied."""
    status, body = ListingLie(lie, frozenset({"a-g1"})).told(path, 200, json.dumps(true).encode())
    return status, json.loads(body)


@pytest.mark.parametrize(
    ("lie", "listed", "found", "status"),
    [
        (Lie.LEFT_OUT, ["b-g1"], ["a-g1"], 200),
        (Lie.HIDDEN, ["b-g1"], [], 404),
        (Lie.EMPTY, [], ["a-g1"], 200),
        (Lie.TWICE, ["a-g1", "b-g1", "a-g1"], ["a-g1", "a-g1"], 200),
        (Lie.COPIED, ["a-g1", "b-g1", "a-g1"], ["a-g1", "a-g1"], 200),
        (Lie.OF_ANOTHER, ["a-g1", "b-g1"], ["a-g1"], 200),
        (Lie.DELETING, ["a-g1", "b-g1"], ["a-g1"], 200),
    ],
)
def test_a_lie_is_about_its_machines_in_listings_searches_and_alone(lie, listed, found, status):
    def labels(path, true):
        return [each["label"] for each in shown(lie, path, true)[1]]

    assert labels("/v1/machines", MACHINES) == listed
    assert labels("/v1/machines?label=a-g1", MACHINES[:1]) == found
    assert shown(lie, "/v1/machines/1", MACHINES[0])[0] == status
    assert shown(lie, "/v1/machines/2", MACHINES[1]) == (200, MACHINES[1])
    assert shown(lie, "/v1/regions", [{"name": "east"}]) == (200, [{"name": "east"}])


def test_a_lie_changes_the_owner_and_the_state_of_its_machines_only():
    _, of_another = shown(Lie.OF_ANOTHER, "/v1/machines", MACHINES)
    assert [each["tags"]["owner"] for each in of_another] == ["somebody-else", "relight"]
    _, deleting = shown(Lie.DELETING, "/v1/machines", MACHINES)
    assert [each["status"] for each in deleting] == ["deleting", "running"]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler")
def test_the_clock_of_a_running_process_jumps_and_its_monotonic_clock_does_not():
    program = """
import datetime, sys, time
for line in sys.stdin:
    print(datetime.datetime.now(datetime.UTC).isoformat(), time.monotonic(), flush=True)
"""
    with worker_clock() as clock:
        environment = {**os.environ, **clock.variables}
        with subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:

            def read() -> tuple[datetime, float]:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write("\n")
                process.stdin.flush()
                at, monotonic = process.stdout.readline().split()
                return datetime.fromisoformat(at), float(monotonic)

            read_at, offs = [], [timedelta(), timedelta(days=3), timedelta(hours=-5), timedelta()]
            for off in offs:
                clock.jump(off)
                at, monotonic = read()
                assert abs(at - off - datetime.now(UTC)) < timedelta(seconds=10)
                read_at.append(monotonic)
            assert read_at == sorted(read_at)
            assert read_at[-1] - read_at[0] < 10


def test_every_hostile_program_is_one_that_a_shell_understands(tmp_path):
    for name, (_, program) in WAYS.items():
        file = tmp_path / "hostile"
        file.write_text(program)
        assert subprocess.run(["sh", "-n", file], check=False).returncode == 0, name


def test_the_rounds_of_a_seed_are_the_same_and_have_every_source():
    sources = [source_of(SEED, number) for number in range(1, 201)]
    assert sources == [source_of(SEED, number) for number in range(1, 201)]
    assert set(sources) == set(Source)


@pytest.mark.lab
async def test_a_round_leaves_a_whole_fleet_and_a_healthy_machine_that_goes_is_found():
    number = next(n for n in count(1) if source_of(SEED, n) is Source.REVOKED_KEY)
    async with distrust_fleet(2) as fleet:
        played = await play_round(fleet, SEED, number)
        assert (played.source, played.violations) == (Source.REVOKED_KEY, []), played.log
        assert played.incidents > 0, played.log
        fleet.begin()
        keys = sorted(fleet.judge.in_use)
        assert len(keys) == 3
        fleet.judge.broke(keys[:1])
        fleet.judge.name(keys[1])
        ids, environment = await fleet.environment.machines(), fleet.environment
        token = environment.lab.token_file.read_text().strip()
        for key in keys:
            url = f"{environment.proxy.url}/v1/machines/{ids[key]}"
            headers = {"Authorization": f"Bearer {token}"}
            async with httpx.AsyncClient(trust_env=False, timeout=10, headers=headers) as http:
                (await http.delete(url)).raise_for_status()
                await http.delete(url)
        found = {each.label: why for each, why in fleet.judge.verdicts()}
        assert found == dict(zip(keys, (Why.BROKEN, Why.NAMED, Why.HEALTHY), strict=True))
        assert fleet.judge.verdicts() == []
