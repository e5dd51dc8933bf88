"""`relight rollout`: bring a release to the fleet, wave by wave, and steer it on its way."""

from typing import Annotated

import typer

from messages.rollout import RolloutReleaseInput, Strategy
from starter.cli import rollouts
from starter.cli.asking import BY_HAND, ReasonOption, origin, with_temporal
from starter.cli.names import (
    FindTagArgument,
    FindTrackOption,
    ScopeTrackOption,
    TagArgument,
    WavesOption,
)
from starter.cli.output import JsonOption
from starter.cli.rollout_finding import find, scope_of

app = typer.Typer(no_args_is_help=True)


@app.command()
def start(  # noqa: PLR0913, PLR0917 - one argument a flag
    tag: TagArgument,
    track: ScopeTrackOption = None,
    wave: WavesOption = None,
    max_concurrent: Annotated[
        int, typer.Option(min=1, max=1000, help="How many routes are changed at once.")
    ] = Strategy().max_concurrent,
    failure_budget: Annotated[
        int, typer.Option(min=0, help="How many routes may fail before it stops.")
    ] = Strategy().failure_budget,
    roll_back: Annotated[
        bool,
        typer.Option("--roll-back", help="Bring routes that failed back to the release before."),
    ] = False,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Follow it to its end; exit 0 only if every route converged."),
    ] = False,
    reason: ReasonOption = BY_HAND,
    json: JsonOption = False,
) -> None:
    """Bring every route that a declaration governs to a release.

    The declaration is the fleet's default release, or a track's override; once every route is
    proven, it says the new tag. A tag that the repository lacks, a scope without routes, or
    another rollout of the same scope is refused, and nothing is changed.

    [bold]Examples:[/]

      relight rollout start v0.0.74 --wait
      relight rollout start v0.0.74 --track beta --wave 1 --wave 50% --reason "fixes DNS"
      relight rollout start v0.0.74 --max-concurrent 50 --failure-budget 2 --wait --json
    """
    strategy = Strategy(
        max_concurrent=max_concurrent, failure_budget=failure_budget, roll_back=roll_back
    )
    if wave:
        strategy = strategy.model_copy(update={"waves": tuple(wave)})
    asked = RolloutReleaseInput(
        release_tag=tag, scope=scope_of(track), origin=origin(reason), strategy=strategy
    )
    with_temporal(
        lambda client, settings: rollouts.start(
            client, settings.task_queue, asked, wait=wait, as_json=json
        )
    )


@app.command()
def status(
    tag: FindTagArgument = None, track: FindTrackOption = None, json: JsonOption = False
) -> None:
    """Show where a rollout stands; without TAG, the one that runs, or else the newest.

    [bold]Examples:[/]

      relight rollout status
      relight rollout status v0.0.74 --track beta --json
    """
    name = find(tag, track)
    with_temporal(lambda client, _: rollouts.show(client, name, as_json=json))


@app.command()
def watch(
    tag: FindTagArgument = None, track: FindTrackOption = None, json: JsonOption = False
) -> None:
    """Follow a rollout to its end. Exit 0 only if every route converged.

    Ctrl-C ends the watching alone. With --json it is a stream: one line at every change, each a
    whole status.

    [bold]Example:[/]

      relight rollout watch v0.0.74
    """
    name = find(tag, track)
    with_temporal(lambda client, _: rollouts.watch(client, name, as_json=json))


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
    _steer("pause", tag, track, reason, as_json=json)


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
    _steer("resume", tag, track, reason, as_json=json)


@app.command()
def abort(
    tag: FindTagArgument = None,
    track: FindTrackOption = None,
    reason: ReasonOption = BY_HAND,
    json: JsonOption = False,
) -> None:
    """Start no further route at all. Routes under way are brought to their end.

    [bold]Example:[/]

      relight rollout abort v0.0.74 --reason "it leaks"
    """
    _steer("abort", tag, track, reason, as_json=json)


def _steer(action: str, tag: str | None, track: str | None, reason: str, *, as_json: bool) -> None:
    name = find(tag, track)
    with_temporal(
        lambda client, settings: rollouts.steer(
            client, settings.task_queue, action, name, origin(reason), as_json=as_json
        )
    )
