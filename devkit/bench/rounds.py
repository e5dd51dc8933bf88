"""Rounds: each candidate swaps the same fleet from the same state, in another order each time."""

import asyncio
import statistics
import sys
import time

from devkit.bench.candidates import Candidate, candidates
from devkit.bench.environment import LabEnvironment
from devkit.bench.machines import cpu_of_all, on_all
from devkit.bench.meter import cpu_seconds, sampled_peak
from devkit.bench.publishing import AFTER, BEFORE, deb_of
from devkit.bench.report import Figures, Report

SETTLE_SECONDS = 0.5
"""Pause after a swap, before the meters are read: hosts still close sessions and write journals."""

# Not measured. Afterwards the host has an index without the new release. Only our source is
# refreshed: a refresh of all sources that finds a change would rebuild all of apt's caches.
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


async def run(environment: LabEnvironment, number: int, only: list[str]) -> Report:
    """Run the rounds, and return all figures and their medians.

    Args:
        environment: the environment.
        number: the number of rounds.
        only: the names of the candidates to measure; empty for all.

    Raises:
        SwapError: a candidate failed.
        ScriptError: a host failed the check after a swap.
    """
    chosen = [each for each in candidates(environment) if not only or each.name in only]
    await prepare(environment)
    measured: dict[str, list[Figures]] = {each.name: [] for each in chosen}
    try:
        for turn in range(number):
            shift = turn % len(chosen)
            for candidate in [*chosen[shift:], *chosen[:shift]]:
                measured[candidate.name].append(await _measure(environment, candidate))
    finally:
        for candidate in chosen:
            if candidate.group is not environment.controller:
                candidate.group.remove()
    return Report(
        hosts=len(environment.machines),
        rounds=number,
        medians={name: _median(figures) for name, figures in measured.items()},
        all={name: tuple(figures) for name, figures in measured.items()},
    )


async def prepare(environment: LabEnvironment) -> None:
    """Copy the package of the release before to every host; `reset` installs it."""
    before = (await deb_of(BEFORE)).read_bytes()
    for machine in environment.machines:
        (machine.root / "root" / "before.deb").write_bytes(before)


async def reset(environment: LabEnvironment) -> None:
    """Bring all hosts to the release before, and publish the one after it."""
    await environment.publisher.publish(BEFORE)
    await on_all(environment.machines, _RESET)
    await asyncio.sleep(1.1)  # apt detects a newer index by a date in whole seconds
    await environment.publisher.publish(BEFORE, AFTER)


async def _measure(environment: LabEnvironment, candidate: Candidate) -> Figures:
    await reset(environment)
    await asyncio.sleep(SETTLE_SECONDS)
    machines, cgroup = environment.machines, candidate.group.folder
    hosts_before, controller_before = cpu_of_all(machines), cpu_seconds(cgroup)
    parts_before = candidate.group.cpu_by_part()
    async with sampled_peak(cgroup) as peak:
        started = time.monotonic()
        await candidate.swap()
        wall_seconds = time.monotonic() - started
    await asyncio.sleep(SETTLE_SECONDS)
    figures = Figures(
        wall_seconds=wall_seconds,
        controller_cpu_seconds=(cpu_seconds(cgroup) - controller_before) / len(machines),
        host_cpu_seconds=(cpu_of_all(machines) - hosts_before) / len(machines),
        peak_mib=peak.mib,
    )
    parts = {
        name: f"{(used - parts_before[name]) / len(machines) * 1000:.0f} ms/host"
        for name, used in candidate.group.cpu_by_part().items()
    }
    print(f"{candidate.name} {figures} {parts}", file=sys.stderr)  # noqa: T201
    if candidate.group is not environment.controller:
        candidate.group.empty()
    service = environment.settings.service
    await on_all(machines, _CHECK, AFTER, str(service.probe_port), service.probe_path)
    return figures


def _median(figures: list[Figures]) -> Figures:
    return Figures(*(statistics.median(column) for column in zip(*figures, strict=True)))
