"""The benchmark of the store: what it delays, and what it counts."""

import time
from datetime import timedelta

import psycopg
import pytest

from devkit.bench.store import swaps
from devkit.bench.store.delay_proxy import delayed
from devkit.bench.store.swaps import Period, provision, swap_during
from relight.store.store import Store
from tests.support.postgres import SERVER_USER, PostgresServer

ROUND_TRIP = timedelta(milliseconds=20)


def test_the_proxy_makes_each_round_trip_longer(postgres_server: PostgresServer) -> None:
    socket = postgres_server.socket_folder / ".s.PGSQL.5432"
    with (
        delayed(socket, ROUND_TRIP.total_seconds()) as port,
        psycopg.connect(
            host="127.0.0.1", port=port, user=SERVER_USER, dbname="postgres", autocommit=True
        ) as connection,
    ):
        started = time.monotonic()
        for number in range(5):
            assert connection.execute(f"SELECT {number}".encode()).fetchall() == [(number,)]
        assert time.monotonic() - started >= 5 * ROUND_TRIP.total_seconds()


def test_a_swap_is_counted_as_its_two_writes(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swaps, "THREADS", 2)
    provision(postgres_url, 1)
    with Store.open(postgres_url) as store:
        before = len(store.events.list())
        now = time.monotonic()
        written = swap_during(postgres_url, 0, Period(now, now + 0.5))
        events = store.events.list()[before:]
    assert {event.kind for event in events} == {"target-set", "swap-attempted", "route-proven"}
    # The second write has two events. The last one of each thread ended after the period.
    writes = sum(event.kind != "swap-attempted" for event in events)
    assert written.writes == writes - 2
    assert written.cpu_seconds > 0
