"""When a package was changed: a process of an interpreter must have started later."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relight.hosts import host_program
from relight.hosts.observation import parse
from tests.hosts.conftest import ServingHost
from tests.support.apt_root import UNIT
from tests.support.memory_shell import running

DAY = 24 * 60 * 60


class Runs:
    """Starts the service's process on a host, and tells whether it is proven.

    No package contains the file that it runs, as of an interpreter.
    """

    def __init__(self, serving: ServingHost) -> None:
        self.serving = serving
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start a process as the unit's main one, instead of the last."""
        self.stop()
        if not self.serving.host.executable.exists():
            shutil.copy("/usr/bin/sleep", self.serving.host.executable)
        self._processes.append(subprocess.Popen([self.serving.host.executable, "600"]))
        self.serving.systemd.set(UNIT, running(), main_pid=self._processes[-1].pid)

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def is_proven(self) -> bool:
        found = parse(self.serving.host.call(*host_program.observe()[1:]).stdout)
        assert all("started before the change" in line for line in found.stale)
        return found.is_installed_file

    def move_clock(self, seconds: int) -> None:
        script = f'echo $(($(/usr/bin/date "$@") + {seconds} * 100))'
        self.serving.host.put_program("date", script)

    @property
    def record(self) -> Path:
        return self.serving.host.root / "var/lib/relight/unpacked"


@pytest.fixture
def runs(settled: ServingHost) -> Iterator[Runs]:
    started = Runs(settled)
    yield started
    started.stop()


def test_only_a_process_that_started_after_the_change_is_proven(runs: Runs) -> None:
    runs.start()
    assert runs.is_proven()
    runs.serving.install("1.1")
    assert not runs.is_proven()
    runs.start()
    assert runs.is_proven()


@pytest.mark.parametrize("days", [10, -10])
def test_a_clock_that_is_set_later_does_not_move_the_change(runs: Runs, days: int) -> None:
    runs.start()
    runs.serving.install("1.1")
    assert not runs.is_proven()
    runs.move_clock(days * DAY)
    assert not runs.is_proven()
    runs.start()
    assert runs.is_proven()


@pytest.mark.parametrize("days", [10, -10])
def test_a_clock_that_is_set_during_a_change_keeps_no_old_process(runs: Runs, days: int) -> None:
    runs.start()
    runs.serving.install("1.1")
    runs.move_clock(days * DAY)
    assert runs.serving.serve() == [f"systemctl restart -- {UNIT}"]
    runs.start()
    assert runs.is_proven()


def test_a_package_that_somebody_else_unpacked_is_a_change_too(runs: Runs) -> None:
    runs.start()
    assert runs.is_proven()
    deb = runs.serving.deb("1.1").filename.rpartition("/")[2]
    served = runs.serving._served.root / deb
    assert runs.serving.host.run(f"dpkg --install {served}")[0] == 0
    assert not runs.is_proven()


def test_a_host_that_is_slow_to_tell_the_time_keeps_no_old_process(runs: Runs) -> None:
    """The old process started less than this second before the change."""
    runs.serving.host.put_program("date", 'sleep 1; exec /usr/bin/date "$@"')
    runs.start()
    runs.serving.install("1.1")
    assert not runs.is_proven()


def test_a_change_of_an_earlier_boot_is_before_every_process(runs: Runs) -> None:
    runs.start()
    runs.serving.install("1.1")
    assert not runs.is_proven()
    unpacked, _, ticks = runs.record.read_text().split()
    runs.record.write_text(f"{unpacked} 00000000-0000-4000-8000-000000000000 {ticks}\n")
    runs.move_clock(-10 * DAY)  # as before a host without a battery has asked for the time
    assert runs.is_proven()


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_text("x\n")])
def test_without_its_record_the_time_is_computed_again(
    runs: Runs, damage: Callable[[Path], object]
) -> None:
    runs.start()
    runs.serving.install("1.1")
    assert not runs.is_proven()
    damage(runs.record)
    assert not runs.is_proven()
    assert len(runs.record.read_text().split()) == 3
