"""`relight rollout`: bring a release to the fleet, wave by wave, and steer it on its way."""

from typing import Annotated

import typer

from relight.domain.rollout.rollout import RolloutReleaseInput, Strategy
from starter.cli import preview, rollout_client, rollout_controls
from starter.cli.names import (
    FindTagArgument,
    FindTrackOption,
    ScopeTrackOption,
    TagArgument,
)
from starter.cli.output import JsonOption
from starter.cli.preview import Preview
from starter.cli.rollout_name import find, scope_of
from starter.cli.session import (
    BY_HAND,
    ReasonOption,
    origin,
    with_temporal,
)
from starter.cli.strategy_options import share_of, takes_strategy

app = typer.Typer(no_args_is_help=True)


@app.command()
@takes_strategy
def start(
    *,
    tag: TagArgument,
    track: ScopeTrackOption = None,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Follow it to its end; exit 0 only if every route converged."),
    ] = False,
    strategy: Strategy,
    reason: ReasonOption = BY_HAND,
    json: JsonOption = False,
) -> None:
    """Bring every route that a declaration governs to a release.

    The declaration is the fleet's default release, or a track's override; once every route is
    proven, it says the new tag. A tag that the repository or a region lacks, or a scope without
    routes, is refused, and nothing is changed. Another rollout of the same scope is superseded:
    it brings what it has under way to its end, and lets go. The same tag again joins the rollout
    that runs.

    [bold]Examples:[/]

      relight rollout start v0.0.74 --wait
      relight rollout start v0.0.74 --track beta --wave 1 --wave 50% --reason "fixes DNS"
      relight rollout start v0.0.74 --max-concurrent 50 --failure-budget 2 --wait --json
      relight rollout start v0.0.74 --canary strata --region-budget 10% --soak 30m
    """
    asked = RolloutReleaseInput(
        release_tag=tag, scope=scope_of(track), origin=origin(reason), strategy=strategy
    )
    with_temporal(
        lambda client, settings: rollout_client.start(
            client, settings.task_queue, asked, wait=wait, as_json=json
        )
    )


@app.command()
@takes_strategy
def plan(
    *,
    tag: TagArgument,
    track: ScopeTrackOption = None,
    strategy: Strategy,
    json: JsonOption = False,
) -> None:
    """Show what `start` with the same flags would do with each route. Nothing is started.

    The store alone is asked: whether the repository holds the release, `relight release show` says.

    [bold]Examples:[/]

      relight rollout plan v0.0.74
      relight rollout plan v0.0.74 --track beta --canary strata --wave 5% --wave 25%
      relight rollout plan v0.0.74 --json | jq '.left_out'
    """
    preview.plan(tag, track, strategy, as_json=json)


@app.command()
@takes_strategy
def simulate(  # noqa: PLR0913 - one argument a flag
    *,
    tag: TagArgument,
    track: ScopeTrackOption = None,
    fleet: Annotated[
        int | None,
        typer.Option(
            min=1, max=100_000, help="Make up a fleet of so many routes, in place of your own."
        ),
    ] = None,
    probability: Annotated[
        list[float] | None,
        typer.Option(
            "--probability",
            "-p",
            metavar="SHARE",
            parser=share_of,
            help="How likely each route fails, as in 5%. Once for each forecast.  "
            "\\[default: 0%, 1%, 5%, 25%, 100%]",
        ),
    ] = None,
    runs: Annotated[
        int, typer.Option(min=1, max=1000, help="How often each is played.")
    ] = preview.RUNS,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answer.")] = 0,
    strategy: Strategy,
    json: JsonOption = False,
) -> None:
    """Rehearse a rollout: how long it takes, what serves meanwhile, and what a bad release reaches.

    Planned and decided is as in a real rollout; how long a swap takes is drawn from those on
    record, and whether it fails, by lot. Nobody is waited for: approvals count as given at once,
    and checks as passed.

    [bold]Examples:[/]

      relight rollout simulate v0.0.74 --region-budget 10% --soak 30m
      relight rollout simulate v0.0.74 --fleet 10000 --canary strata --probability 2%
      relight rollout simulate v0.0.74 --runs 50 --seed 7 --json
    """
    preview.simulate(
        tag,
        track,
        strategy,
        Preview(generated=fleet, probabilities=tuple(probability or ()), runs=runs, seed=seed),
        as_json=json,
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
    with_temporal(lambda client, _: rollout_client.show(client, name, as_json=json))


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
    with_temporal(lambda client, _: rollout_client.watch(client, name, as_json=json))


@app.command()
def why(
    tag: FindTagArgument = None, track: FindTrackOption = None, json: JsonOption = False
) -> None:
    """Say why a rollout stands where it does, since when, and what can be done about it.

    [bold]Example:[/]

      relight rollout why
    """
    name = find(tag, track)
    with_temporal(lambda client, _: rollout_client.why(client, name, as_json=json))


app.add_typer(rollout_controls.app)
