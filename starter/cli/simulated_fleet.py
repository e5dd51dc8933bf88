"""Generates a fleet for simulations. The same seed gives the same fleet."""

from collections.abc import Mapping
from random import Random
from typing import NamedTuple

from relight.domain.machine import Machine, MachineStatus
from relight.domain.names import machine_key
from relight.domain.route import Route, RouteStatus


class _Provider(NamedTuple):
    """A provider's part of the fleet.

    Attributes:
        weight: its part of all routes, relative to the other providers' weights.
        regions: how many regions it has; the first is the largest.
        arm64: the share of its machines that are arm64, 0 to 1.
    """

    weight: int
    regions: int
    arm64: float


_PROVIDERS: Mapping[str, _Provider] = {
    "linode": _Provider(weight=55, regions=20, arm64=0),
    "oci": _Provider(weight=25, regions=8, arm64=0.6),
    "alicloud": _Provider(weight=15, regions=6, arm64=0.1),
    "gcore": _Provider(weight=5, regions=2, arm64=0),
}

TRACKS: Mapping[str, int] = {"stable": 85, "beta": 12, "edge": 3}
"""Its tracks, and the weight of each."""


def generate(count: int, seed: int) -> list[Route]:
    """Return routes that all serve, over four providers with many regions of unequal size."""
    # For a simulation, not for a secret.
    random = Random(f"fleet/{seed}")  # noqa: S311 - no secret
    providers = random.choices(
        list(_PROVIDERS), [each.weight for each in _PROVIDERS.values()], k=count
    )
    tracks = random.choices(list(TRACKS), list(TRACKS.values()), k=count)
    return [
        _route(f"route-{number:05}", provider, track, random)
        for number, (provider, track) in enumerate(zip(providers, tracks, strict=True), start=1)
    ]


def _route(route_id: str, provider: str, track: str, random: Random) -> Route:
    spec = _PROVIDERS[provider]
    # The first region has about as many routes as the second and third together, and so on.
    [number] = random.choices(range(spec.regions), [1 / (each + 1) for each in range(spec.regions)])
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
            architecture="arm64" if random.random() < spec.arm64 else "amd64",
            status=MachineStatus.RUNNING,
        ),
    )
