"""A made-up fleet, to rehearse on without one of one's own. The same seed makes the same."""

from collections.abc import Mapping
from random import Random
from typing import NamedTuple

from relight.domain.machine import Machine, MachineStatus
from relight.domain.names import machine_key
from relight.domain.route import Route, RouteStatus


class _Provider(NamedTuple):
    """What a provider has of the fleet.

    Attributes:
        share: of all routes; the shares need not add up to anything.
        regions: how many regions it has, the first of them the largest.
        arm64: the share of its machines that are arm64, 0 to 1.
    """

    share: int
    regions: int
    arm64: float


_PROVIDERS: Mapping[str, _Provider] = {
    "linode": _Provider(share=55, regions=20, arm64=0),
    "oci": _Provider(share=25, regions=8, arm64=0.6),
    "alicloud": _Provider(share=15, regions=6, arm64=0.1),
    "gcore": _Provider(share=5, regions=2, arm64=0),
}

TRACKS: Mapping[str, int] = {"stable": 85, "beta": 12, "edge": 3}
"""Its tracks, and how the routes are shared out among them."""


def generate(count: int, seed: int) -> list[Route]:
    """Return so many routes, all of which serve, over four providers of many unequal regions."""
    # For a rehearsal, not for a secret.
    lots = Random(f"fleet/{seed}")  # noqa: S311
    providers = lots.choices(
        list(_PROVIDERS), [each.share for each in _PROVIDERS.values()], k=count
    )
    tracks = lots.choices(list(TRACKS), list(TRACKS.values()), k=count)
    return [
        _route(f"route-{number:05}", provider, track, lots)
        for number, (provider, track) in enumerate(zip(providers, tracks, strict=True), start=1)
    ]


def _route(route_id: str, provider: str, track: str, lots: Random) -> Route:
    sold = _PROVIDERS[provider]
    # The first region has about as many routes as the second and third together, and so on.
    [number] = lots.choices(range(sold.regions), [1 / (each + 1) for each in range(sold.regions)])
    region = f"region-{number + 1}"
    return Route(
        route_id=route_id,
        track=track,
        provider=provider,
        region=region,
        status=RouteStatus.SERVING,
        machine=Machine(
            key=machine_key(route_id, 1),
            provider=provider,
            provider_id=route_id,
            region=region,
            architecture="arm64" if lots.random() < sold.arm64 else "amd64",
            status=MachineStatus.RUNNING,
        ),
    )
