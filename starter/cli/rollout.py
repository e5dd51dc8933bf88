"""`relight rollout`: bring a release to the fleet, wave by wave, and steer it on its way."""

from typing import Annotated

import typer

from messages.names import FLEET_SCOPE, ScopeName, track_scope
from messages.rollout import RolloutReleaseInput, Strategy
from starter.cli import rollouts
from starter.cli.asking import BY_HAND, ReasonOption, origin, with_temporal
from starter.cli.names import OptionalTagArgument, ScopeTrackOption, TagArgument, WavesOption
from starter.cli.output import JsonOption

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
    strategy = Strategy(max_concurrent=max_concurrent, failure_budget=failure_budget)
    if wave:
        strategy = strategy.model_copy(update={"waves": tuple(wave)})
    asked = RolloutReleaseInput(
        release_tag=tag, scope=_scope(track), origin=origin(reason), strategy=strategy
    )
    with_temporal(
        lambda client, settings: rollouts.start(
            client, settings.task_queue, asked, wait=wait, as_json=json
        )
    )


@app.command()
def status(
    tag: OptionalTagArgument = None, track: ScopeTrackOption = None, json: JsonOption = False
) -> None:
    """Show where a rollout stands; without TAG, the newest.

    [bold]Examples:[/]

      relight rollout status
      relight rollout status v0.0.74 --track beta --json
    """
    with_temporal(lambda client, _: rollouts.show(client, tag, _scope(track), as_json=json))


@app.command()
def watch(
    tag: OptionalTagArgument = None, track: ScopeTrackOption = None, json: JsonOption = False
) -> None:
    """Follow a rollout to its end; without TAG, the newest. Exit 0 only if every route converged.

    With --json it is a stream: one line at every change, each a whole status.

    [bold]Example:[/]

      relight rollout watch v0.0.74
    """
    with_temporal(lambda client, _: rollouts.watch(client, tag, _scope(track), as_json=json))


@app.command()
def pause(
    tag: OptionalTagArgument = None,
    track: ScopeTrackOption = None,
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
    tag: OptionalTagArgument = None,
    track: ScopeTrackOption = None,
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
    tag: OptionalTagArgument = None,
    track: ScopeTrackOption = None,
    reason: ReasonOption = BY_HAND,
    json: JsonOption = False,
) -> None:
    """Start no further route at all. Routes under way are brought to their end.

    [bold]Example:[/]

      relight rollout abort v0.0.74 --reason "it leaks"
    """
    _steer("abort", tag, track, reason, as_json=json)


def _steer(action: str, tag: str | None, track: str | None, reason: str, *, as_json: bool) -> None:
    with_temporal(
        lambda client, _: rollouts.steer(
            client, action, tag, _scope(track), origin(reason), as_json=as_json
        )
    )


def _scope(track: str | None) -> ScopeName:
    return FLEET_SCOPE if track is None else track_scope(track)
