"""The search attributes by which Relight's workflows are found in the Temporal UI. All Keywords.

Every server that Relight runs on must know them: `relight up` registers them with the server
that it starts, and `docker-compose.temporal.yml` with its own.
"""

from typing import Final

ROUTE: Final = "RelightRoute"
ROLLOUT: Final = "RelightRollout"
TRACK: Final = "RelightTrack"
PROVIDER: Final = "RelightProvider"
REGION: Final = "RelightRegion"
RELEASE: Final = "RelightRelease"
FAULT: Final = "RelightFault"

SEARCH_ATTRIBUTES: Final = (ROUTE, ROLLOUT, TRACK, PROVIDER, REGION, RELEASE, FAULT)
