"""`relight rollout pause`, `resume`, `approve`, `abort`, `retry`, `skip`, `speed`: a hand on it.

Each says who and why, which is kept in the event log.
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
    BY_HAND,
    ReasonOption,
    origin,
    with_temporal,
)

app = typer.Typer()


@app.command()
def pause(
    tag: FindTagArgument = None,
    track: FindTrackOption = None,
    reason: ReasonOption = BY_HAND,
    json: JsonOption = False,
) -> None:
    """Start no further route until resumed. Routes under way are brought to their end.

    [bold]Example:[/]

      relight rollout pause v0.0.74 --reason "graphs look odd"
    """
    _steer("pause", tag, track, ControlInput(origin=origin(reason)), as_json=json)


@app.command()
def resume(
    tag: FindTagArgument = None,
    track: FindTrackOption = None,
    reason: ReasonOption = BY_HAND,
    json: JsonOption = False,
) -> None:
    """Go on where a pause stopped.

    [bold]Example:[/]

      relight rollout resume v0.0.74
    """
    _steer("resume", tag, track, ControlInput(origin=origin(reason)), as_json=json)


@app.command()
def approve(
    tag: FindTagArgument = None,
    track: FindTrackOption = None,
    reason: ReasonOption = BY_HAND,
    json: JsonOption = False,
) -> None:
    """Let it go on from where it waits for a person: after its canary, say.

    [bold]Example:[/]

      relight rollout approve v0.0.74 --reason "dashboards are green"
    """
    _steer("approve", tag, track, ControlInput(origin=origin(reason)), as_json=json)


@app.command()
def abort(
    tag: FindTagArgument = None,
    track: FindTrackOption = None,
    reason: ReasonOption = BY_HAND,
    json: JsonOption = False,
) -> None:
    """Start no further route at all. Routes under way are brought to their end.

    If it was started with --roll-back, every route that it touched is then taken back.

    [bold]Example:[/]

      relight rollout abort v0.0.74 --reason "it leaks"
    """
    _steer("abort", tag, track, ControlInput(origin=origin(reason)), as_json=json)


@app.command()
def retry(
    tag: FindTagArgument = None,
    track: FindTrackOption = None,
    reason: ReasonOption = BY_HAND,
    json: JsonOption = False,
) -> None:
    """Have the routes that failed so far wait for their turn once more.

    [bold]Example:[/]

      relight rollout retry v0.0.74 --reason "the disk has room again"
    """
    _steer("retry", tag, track, ControlInput(origin=origin(reason)), as_json=json)


@app.command()
def skip(
    route: Annotated[
        str, typer.Option("--route", callback=route_id_of, help="Its id, as in eu-1.")
    ],
    tag: FindTagArgument = None,
    track: FindTrackOption = None,
    reason: ReasonOption = BY_HAND,
    json: JsonOption = False,
) -> None:
    """Leave a route out that has not started, or has failed.

    [bold]Example:[/]

      relight rollout skip v0.0.74 --route de-7 --reason "being looked into"
    """
    asked = SkipRoute(route_id=route, origin=origin(reason))
    _steer("skip", tag, track, asked, as_json=json)


@app.command()
def speed(
    max_concurrent: Annotated[
        int, typer.Option(min=1, max=1000, help="How many routes are changed at once from now on.")
    ],
    tag: FindTagArgument = None,
    track: FindTrackOption = None,
    reason: ReasonOption = BY_HAND,
    json: JsonOption = False,
) -> None:
    """Change how many routes are changed at once.

    [bold]Example:[/]

      relight rollout speed v0.0.74 --max-concurrent 50
    """
    asked = SetConcurrency(max_concurrent=max_concurrent, origin=origin(reason))
    _steer("speed", tag, track, asked, as_json=json)


def _steer(
    action: str, tag: str | None, track: str | None, asked: ControlInput, *, as_json: bool
) -> None:
    name = find(tag, track)
    with_temporal(
        lambda client, settings: rollout_client.steer(
            client, settings.task_queue, action, name, asked, as_json=as_json
        )
    )
