"""`relight rollout pause`, `resume`, `approve`, `abort`, `retry`, `skip`, `set-concurrency`.

Each is recorded in the event log with its requester and its reason.
"""

from typing import Annotated

import typer

from relight.domain.rollout.rollout import (
    ControlInput,
    SetConcurrency,
    SkipRoute,
)
from starter.cli import rollout_client
from starter.cli.names import (
    FindTagArgument,
    FindTrackOption,
    route_id_of,
)
from starter.cli.output import JsonOption
from starter.cli.rollout_name import find
from starter.cli.session import (
    DEFAULT_REASON,
    ReasonOption,
    origin,
    with_temporal,
)

app = typer.Typer()


@app.command()
def pause(
    tag: FindTagArgument = None,
    track: FindTrackOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Start no further route until resumed, also in a rollback.

    Routes that are being changed are finished.

    [bold]Example:[/]

      relight rollout pause v0.0.74 --reason "graphs look odd"
    """
    _control("pause", tag, track, ControlInput(origin=origin(reason)), as_json=json)


@app.command()
def resume(
    tag: FindTagArgument = None,
    track: FindTrackOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Continue after a pause, also of a rollback.

    [bold]Example:[/]

      relight rollout resume v0.0.74
    """
    _control("resume", tag, track, ControlInput(origin=origin(reason)), as_json=json)


@app.command()
def approve(
    tag: FindTagArgument = None,
    track: FindTrackOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Continue a rollout that waits for approval, for example after its canary.

    [bold]Example:[/]

      relight rollout approve v0.0.74 --reason "dashboards are green"
    """
    _control("approve", tag, track, ControlInput(origin=origin(reason)), as_json=json)


@app.command()
def abort(
    tag: FindTagArgument = None,
    track: FindTrackOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """End the rollout: start no further route. Routes that are being changed are finished.

    Every route that it changed is then rolled back to its release from before, unless it was
    started with --keep-failed. During that rollback, abort ends the rollback: the other routes
    stay as they are.

    [bold]Example:[/]

      relight rollout abort v0.0.74 --reason "it leaks"
    """
    _control("abort", tag, track, ControlInput(origin=origin(reason)), as_json=json)


@app.command()
def retry(
    tag: FindTagArgument = None,
    track: FindTrackOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Requeue the routes that have failed so far.

    [bold]Example:[/]

      relight rollout retry v0.0.74 --reason "the disk has room again"
    """
    _control("retry", tag, track, ControlInput(origin=origin(reason)), as_json=json)


@app.command()
def skip(
    route: Annotated[
        str, typer.Option("--route", callback=route_id_of, help="Its id, as in eu-1.")
    ],
    tag: FindTagArgument = None,
    track: FindTrackOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Skip a route that has not started or has failed.

    [bold]Example:[/]

      relight rollout skip v0.0.74 --route de-7 --reason "under investigation"
    """
    request = SkipRoute(route_id=route, origin=origin(reason))
    _control("skip", tag, track, request, as_json=json)


@app.command("set-concurrency")
def set_concurrency(
    max_concurrent: Annotated[
        int, typer.Option(min=1, max=1000, help="How many routes may be changed at once.")
    ],
    tag: FindTagArgument = None,
    track: FindTrackOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Change how many routes are changed at once, from now on, also in a rollback.

    [bold]Example:[/]

      relight rollout set-concurrency v0.0.74 --max-concurrent 50
    """
    request = SetConcurrency(max_concurrent=max_concurrent, origin=origin(reason))
    _control("set-concurrency", tag, track, request, as_json=json)


def _control(
    action: str, tag: str | None, track: str | None, input: ControlInput, *, as_json: bool
) -> None:
    name = find(tag, track)
    with_temporal(
        lambda client, settings: rollout_client.control(
            client, settings.task_queue, action, name, input, as_json=as_json
        )
    )
