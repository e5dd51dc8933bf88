"""The incident of a wave: one cause outside of hosts, which holds it until the cause is gone."""

from datetime import timedelta

from temporalio import workflow

from relight.domain.fault.fault import Fault
from relight.domain.names import RouteId
from relight.domain.rollout.gate import incident_of
from relight.domain.rollout.rollout import WaveIncident
from workflows.rollout.waiting import longer

FIRST_INCIDENT_PAUSE = timedelta(seconds=15)
"""How long an incident holds the wave before one route tries again. Each pause is longer."""


class IncidentHold:
    """Holds a wave after a fault that only waiting cures; after each pause one route tries again.

    Attributes:
        reason: what the faults have in common, in one sentence; empty without an incident.
        until: the end of the current pause.
    """

    def __init__(self, limit: timedelta, kept: WaveIncident | None = None) -> None:
        """Continue the incident of the run before, if there is one.

        Args:
            limit: how long an incident may last before a person has to decide.
            kept: what the run before kept.
        """
        self._limit = limit
        self._pause = kept.pause if kept else None
        self._since = kept.since if kept else workflow.now()
        self._faults: dict[RouteId, Fault] = {}
        self.reason = kept.reason if kept else ""
        self.until = kept.until if kept else workflow.now()

    @property
    def kept(self) -> WaveIncident | None:
        """What the next run of the wave has to know; None without an incident."""
        if self._pause is None:
            return None
        return WaveIncident(
            pause=self._pause, until=self.until, since=self._since, reason=self.reason
        )

    @property
    def is_on(self) -> bool:
        """Whether there is an incident."""
        return self._pause is not None

    @property
    def admits_one(self) -> bool:
        """Whether the pause is over, so that one route may test whether the incident is.

        It is over as well if it seems to last longer than it can: the server's clock was set back.
        """
        left = self.until - workflow.now()
        return left <= timedelta(0) or (self._pause is not None and left > self._pause)

    @property
    def sentence(self) -> str:
        """The reason, and until when the wave waits for its end; empty without an incident."""
        if not self.reason or self._pause is None:
            return self.reason
        until = self._since + self._limit
        return (
            f"{self.reason}; if no route succeeds before {until:%Y-%m-%d %H:%M} UTC, the rollout "
            f"pauses for a person"
        )

    @property
    def over_limit(self) -> str:
        """Why a person has to decide; empty if the incident does not last too long."""
        if self._pause is None or workflow.now() - self._since < self._limit:
            return ""
        return f"an incident has lasted since {self._since:%Y-%m-%d %H:%M} UTC: {self.reason}"

    def add(self, route_id: RouteId, cause: Fault) -> None:
        """Begin an incident, or prolong it."""
        now = workflow.now()
        self._faults[route_id] = cause
        if self._pause is None:
            self._pause, self._since = FIRST_INCIDENT_PAUSE, now
        elif self.admits_one:
            self._since = min(self._since, now)
            self._pause = longer(self._pause, now - self._since)
        self.until = now + self._pause
        if incident := incident_of(self._faults.values()):
            self.reason = incident.summary

    def end(self) -> None:
        """End it: a route has succeeded."""
        self._pause, self.reason = None, ""
        self._faults.clear()

    def restart(self) -> None:
        """Grant the incident its whole limit again, and let a route try at once."""
        self._since = self.until = workflow.now()
