"""One clock for workflows, activities, the store and the command line, which can jump.

It is this computer's, plus an offset that grows with each jump. The modules of the project are
given a `datetime` whose `now` has the offset, and workflows get it with the time of each of their
tasks. Timers and the pauses between attempts stay the server's: they are cut to fractions of a
second, so that whoever waits looks at the clock again soon.
"""

import bisect
import datetime as dt
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails

from relight.engine.runner import UnversionedRunner

_PACKAGES = ("activities", "relight", "starter", "devkit.simulated")

_FASTER = 200
_SHORTEST, _LONGEST = dt.timedelta(milliseconds=10), dt.timedelta(milliseconds=400)


class Clock:
    """The time of a walk."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Return to this computer's time. No workflow may be open."""
        self._jumps = [(dt.datetime.min.replace(tzinfo=dt.UTC), dt.timedelta())]

    def now(self) -> dt.datetime:
        """Return the time."""
        return dt.datetime.now(dt.UTC) + self._jumps[-1][1]

    def at(self, real: dt.datetime) -> dt.datetime:
        """Return the time at a moment of this computer's time, the same for every replay."""
        position = bisect.bisect_right(self._jumps, real, key=lambda jump: jump[0])
        return real + self._jumps[position - 1][1]

    def jump(self, duration: dt.timedelta) -> None:
        """Let time pass at once."""
        self._jumps.append((dt.datetime.now(dt.UTC), self._jumps[-1][1] + duration))


@contextmanager
def applied(clock: Clock) -> Iterator[None]:
    """Let all modules of the project that are imported by now read the clock."""
    shifted = _shifted(clock)
    patched = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith(_PACKAGES) and vars(module).get("datetime") is dt.datetime
    ]
    for module in patched:
        vars(module)["datetime"] = shifted
    try:
        yield
    finally:
        for module in patched:
            vars(module)["datetime"] = dt.datetime


def _shifted(clock: Clock) -> type[dt.datetime]:
    class AnyDatetime(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, dt.datetime)

    class Shifted(dt.datetime, metaclass=AnyDatetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            return clock.now().astimezone(tz)

    return Shifted


class ClockRunner(UnversionedRunner):
    """Runs workflows outside of the sandbox, in the time of a clock and with short pauses."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Create the instance for one run."""
        return _ShiftedInstance(super().create_instance(det), self._clock)


class _ShiftedInstance(WorkflowInstance):
    def __init__(self, instance: WorkflowInstance, clock: Clock) -> None:
        self._instance, self._clock = instance, clock

    def get_info(self) -> Any:
        return self._instance.get_info()

    def get_thread_id(self) -> int | None:
        return self._instance.get_thread_id()

    def get_serialization_context(self, command_info: Any) -> Any:
        return self._instance.get_serialization_context(command_info)

    def get_external_store_context(self, command_info: Any) -> Any:
        return self._instance.get_external_store_context(command_info)

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        self._shift(act.timestamp)
        for job in act.jobs:
            if job.HasField("initialize_workflow"):
                self._shift(job.initialize_workflow.start_time)
        completion = self._instance.activate(act)
        for command in completion.successful.commands:
            if command.HasField("start_timer"):
                _shorten(command.start_timer.start_to_fire_timeout)
            elif command.HasField("schedule_activity"):
                retry = command.schedule_activity.retry_policy
                _shorten(retry.initial_interval)
                _shorten(retry.maximum_interval)
        return completion

    def _shift(self, at: Timestamp) -> None:
        at.FromDatetime(self._clock.at(at.ToDatetime(dt.UTC)))


def _shorten(pause: Duration) -> None:
    """Cut a pause; zero means that there is none, or the server's default."""
    if pause.ToNanoseconds():
        pause.FromTimedelta(min(max(pause.ToTimedelta() / _FASTER, _SHORTEST), _LONGEST))
