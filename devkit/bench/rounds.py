"""Rounds: each contestant swaps the same fleet from the same state, in another order each time."""

import asyncio
import statistics
import sys
import time

from devkit.bench.contestants import Contestant, contestants
from devkit.bench.hosts import cpu_of_all, on_all
from devkit.bench.meter import cpu_seconds, sampled_peak
from devkit.bench.publishing import (
    AFTER,
    BEFORE,
    deb_of,
)
from devkit.bench.report import Figures, Report
from devkit.bench.stage import Stage

SETTLE_SECONDS = 0.5
"""After a swap, before the meters are read: a host still buries sessions and writes its journal."""

# Outside of the clock. The host then knows an index that has not got the release. Of that one
# source only: a plain refresh that finds it changed makes apt's caches anew, whatever they were.
_RESET = """\
dpkg --install /root/before.deb
systemctl daemon-reload
systemctl restart lantern-box.service
rm -f /var/cache/apt/archives/*.deb
apt-get -q -o Dir::Etc::sourcelist=sources.list.d/relight.sources -o Dir::Etc::sourceparts=- \
    -o APT::Get::List-Cleanup=0 -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= update
"""
_CHECK = """\
[ "$(dpkg-query -W -f '${db:Status-Abbrev}${Version}' lantern-box)" = "ii $1" ]
pid=$(systemctl show --property=MainPID --value lantern-box.service)
[ "/proc/$pid/exe" -ef /usr/bin/lantern-box ]
curl --fail --silent "http://127.0.0.1:$2$3" | grep -qF "\\"$1\\""
"""


async def play(stage: Stage, number: int, only: list[str]) -> Report:
    """Play so many rounds, and return the medians.

    Args:
        stage: where.
        number: of rounds.
        only: the names of those that take part; all where it is empty.
    """
    taking_part = [each for each in contestants(stage) if not only or each.name in only]
    await prepare(stage)
    seen: dict[str, list[Figures]] = {each.name: [] for each in taking_part}
    try:
        for turn in range(number):
            shift = turn % len(taking_part)
            for contestant in [*taking_part[shift:], *taking_part[:shift]]:
                seen[contestant.name].append(await _measure(stage, contestant))
    finally:
        for contestant in taking_part:
            if contestant.group is not stage.controller:
                contestant.group.remove()
    return Report(
        hosts=len(stage.hosts),
        rounds=number,
        medians={name: _median(figures) for name, figures in seen.items()},
        all={name: tuple(figures) for name, figures in seen.items()},
    )


async def prepare(stage: Stage) -> None:
    """Lay the release before down on every host, for the resets."""
    before = (await deb_of(BEFORE)).read_bytes()
    for host in stage.hosts:
        root = host.lab_state / "machines" / host.machine_id / "root"
        (root / "root" / "before.deb").write_bytes(before)


async def reset(stage: Stage) -> None:
    """Bring all hosts to the release before, and publish the one after it."""
    await stage.publisher.publish(BEFORE)
    await on_all(stage.hosts, _RESET)
    await asyncio.sleep(1.1)  # apt tells an index from the one before by a date in whole seconds
    await stage.publisher.publish(BEFORE, AFTER)


async def _measure(stage: Stage, contestant: Contestant) -> Figures:
    await reset(stage)
    await asyncio.sleep(SETTLE_SECONDS)
    count, group = len(stage.hosts), contestant.group.folder
    hosts_before, controller_before = cpu_of_all(stage.hosts), cpu_seconds(group)
    parts_before = contestant.group.cpu_by_part()
    async with sampled_peak(group) as peak:
        began = time.monotonic()
        await contestant.swap()
        wall = time.monotonic() - began
    await asyncio.sleep(SETTLE_SECONDS)
    figures = Figures(
        wall_seconds=wall,
        controller_cpu_seconds=(cpu_seconds(group) - controller_before) / count,
        host_cpu_seconds=(cpu_of_all(stage.hosts) - hosts_before) / count,
        peak_mib=peak.mib,
    )
    parts = {
        name: f"{(used - parts_before[name]) / count * 1000:.0f} ms/host"
        for name, used in contestant.group.cpu_by_part().items()
    }
    print(f"{contestant.name} {figures} {parts}", file=sys.stderr)  # noqa: T201
    if contestant.group is not stage.controller:
        contestant.group.empty()
    probe = stage.settings.service
    await on_all(stage.hosts, _CHECK, AFTER, str(probe.probe_port), probe.probe_path)
    return figures


def _median(figures: list[Figures]) -> Figures:
    return Figures(*(statistics.median(column) for column in zip(*figures, strict=True)))
