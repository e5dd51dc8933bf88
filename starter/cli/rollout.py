"""`relight rollout`: roll a release out to the fleet, wave by wave, and control it."""

from typing import Annotated

import typer

from relight.domain.rollout.rollout import RolloutReleaseInput
from relight.domain.rollout.strategy import UNDO_STRATEGY, Strategy
from starter.cli import (
    preview,
    rollout_client,
    rollout_controls,
    rollout_history,
    rollout_image,
)
from starter.cli.errors import RefusedError
from starter.cli.kept_configuration import ConfigurationOption, release_of_scope
from starter.cli.names import (
    FindTagArgument,
    FindTrackOption,
    ScopeTrackOption,
    TagArgument,
    UncheckedOption,
    UndoWavesOption,
)
from starter.cli.output import JsonOption
from starter.cli.preview import SimulationOptions
from starter.cli.rollout_name import find, scope_of
from starter.cli.session import (
    DEFAULT_REASON,
    ReasonOption,
    fleet_store,
    origin,
    with_temporal,
)
from starter.cli.strategy_options import (
    ProviderBudgetOption,
    RegionBudgetOption,
    TrackBudgetOption,
    budget_of,
    require_growing_waves,
    share_of,
    takes_strategy,
)
from starter.cli.waiting import Patience, TimeoutOption, patience_of

app = typer.Typer(no_args_is_help=True)


@app.command()
@takes_strategy
def start(  # noqa: PLR0913 - one argument a flag
    *,
    tag: TagArgument,
    track: ScopeTrackOption = None,
    configuration: ConfigurationOption = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait",
            help="Wait until it ends; exit code 0 only if every route converged.",
        ),
    ] = False,
    timeout: TimeoutOption = None,
    strategy: Strategy,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Bring every route that follows the fleet's default release, or a track's override, to a tag.

    Once every route is proven, the default release or the override is set to the tag. A tag that
    the repository or a region lacks, or a scope without routes, is refused, and nothing changes:
    a running rollout continues. Otherwise a running rollout of the same scope is superseded: it
    finishes the routes that are being changed, and ends. The same tag again joins the running
    rollout. If it is stopped or aborted, each route that it changed is rolled back.

    A release is the package and the service's configuration: TAG@REVISION. Without --configuration
    the one that is declared now stays. The same tag with another revision is a rollout of its own.

    [bold]Examples:[/]

      relight rollout start v0.0.74 --wait
      relight rollout start v0.0.74 --track beta --wave 1 --wave 50% --reason "fixes DNS"
      relight rollout start v0.0.74 --max-concurrent 50 --failure-budget 2 --wait --json
      relight rollout start v0.0.74 --canary strata --region-budget 10% --soak 30m
      relight rollout start v0.0.74 --wave 1 --keep-failed --reason "to see why it crashes"
      relight rollout start v0.0.74 --configuration 3f2a91bc04de --wave 1 --wave 25%
    """
    patience = patience_of(timeout, waits=wait, option="add --wait")
    scope = scope_of(track)
    with fleet_store() as store:
        require_growing_waves(strategy.waves, len(store.routes.in_scope(scope)))
        tag = release_of_scope(store, tag, scope, configuration)
    request = RolloutReleaseInput(
        release_tag=tag, scope=scope, origin=origin(reason), strategy=strategy
    )
    with_temporal(
        lambda client, settings: rollout_client.start(
            client, settings.task_queue, request, patience, as_json=json
        )
    )


@app.command()
def undo(  # noqa: PLR0913, PLR0917 - one argument a flag
    tag: FindTagArgument = None,
    track: FindTrackOption = None,
    wave: UndoWavesOption = None,
    max_concurrent: Annotated[
        int, typer.Option(min=1, max=1000, help="How many routes are changed at once.")
    ] = UNDO_STRATEGY.max_concurrent,
    provider_budget: ProviderBudgetOption = None,
    region_budget: RegionBudgetOption = None,
    track_budget: TrackBudgetOption = None,
    failure_budget: Annotated[
        int, typer.Option(min=0, help="How many routes may fail; one more stops the undo.")
    ] = UNDO_STRATEGY.failure_budget,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait", help="Wait until it ends; exit code 0 only if all are back."
        ),
    ] = False,
    timeout: TimeoutOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Bring every route at a release back to its own release from before; also the declaration.

    Without TAG, undo the running rollout, else the newest. A running rollout of the scope is
    superseded. Each release that routes go back to is checked first, as by `start`: what cannot be
    installed is refused, and nothing changes. Holds do not keep a route from going back. As many
    routes go back at once as the disruption budgets allow; those that are out already go first.
    What an undo that was stopped or aborted has left, the same command brings back.

    [bold]Examples:[/]

      relight rollout undo --wait --reason "it leaks memory"
      relight rollout undo v0.0.76 --region-budget 50% --reason "it crashes everywhere"
      relight rollout undo v0.0.76 --track beta --wave 5% --max-concurrent 50
    """
    patience = patience_of(timeout, waits=wait, option="add --wait")
    name = find(tag, track)
    if name.image is not None:
        msg = (
            f"the rollout of image {name.image} is not undone: `relight rollout image --help` "
            "shows how its routes get machines of another image, `relight image list` those that "
            "there are"
        )
        raise RefusedError(msg)
    strategy = UNDO_STRATEGY.model_copy(
        update={
            "max_concurrent": max_concurrent,
            "disruption_budget": budget_of(provider_budget, region_budget, track_budget),
            "failure_budget": failure_budget,
        }
    )
    if wave:
        strategy = strategy.model_copy(update={"waves": tuple(wave)})
        with fleet_store() as store:
            undone = store.routes.current_releases(name.scope).get(name.tag, 0)
        require_growing_waves(wave, undone)
    request = RolloutReleaseInput(
        release_tag=name.tag,
        scope=name.scope,
        origin=origin(reason),
        strategy=strategy,
        undo=True,
    )
    with_temporal(
        lambda client, settings: rollout_client.start(
            client, settings.task_queue, request, patience, as_json=json
        )
    )


@app.command()
@takes_strategy
def plan(
    *,
    tag: TagArgument,
    track: ScopeTrackOption = None,
    configuration: ConfigurationOption = None,
    unchecked: UncheckedOption = False,
    strategy: Strategy,
    json: JsonOption = False,
) -> None:
    """Show what `start` with the same options would do with each route. Nothing is started.

    As `start` does, it refuses a release that the repository does not have.

    [bold]Examples:[/]

      relight rollout plan v0.0.74
      relight rollout plan v0.0.74 --track beta --canary strata --wave 5% --wave 25%
      relight rollout plan v0.0.74 --json | jq '.left_out'
    """
    preview.plan(
        tag, track, strategy, configuration=configuration, unchecked=unchecked, as_json=json
    )


@app.command()
@takes_strategy
def simulate(  # noqa: PLR0913 - one argument a flag
    *,
    tag: TagArgument,
    track: ScopeTrackOption = None,
    fleet: Annotated[
        int | None,
        typer.Option(
            min=1, max=100_000, help="Generate a fleet of so many routes, instead of your own."
        ),
    ] = None,
    probability: Annotated[
        list[float] | None,
        typer.Option(
            "--probability",
            "-p",
            metavar="SHARE",
            parser=share_of,
            help="The probability that a route fails, as in 5%. Repeat it for more forecasts.  "
            "\\[default: 0%, 1%, 5%, 25%, 100%]",
        ),
    ] = None,
    runs: Annotated[
        int, typer.Option(min=1, max=1000, help="How many runs per forecast.")
    ] = preview.RUNS,
    seed: Annotated[int, typer.Option(help="The same seed gives the same result.")] = 0,
    configuration: ConfigurationOption = None,
    strategy: Strategy,
    json: JsonOption = False,
) -> None:
    """Simulate a rollout: its duration, the capacity meanwhile, and the reach of a bad release.

    Plan and decisions are those of a real rollout. The duration of each swap is drawn from the
    recorded ones, its failure at random. Approvals count as given immediately, checks as passed.

    [bold]Examples:[/]

      relight rollout simulate v0.0.74 --region-budget 10% --soak 30m
      relight rollout simulate v0.0.74 --fleet 10000 --canary strata --probability 2%
      relight rollout simulate v0.0.74 --runs 50 --seed 7 --json
    """
    preview.simulate(
        tag,
        track,
        strategy,
        SimulationOptions(
            generated=fleet, probabilities=tuple(probability or ()), runs=runs, seed=seed
        ),
        configuration=configuration,
        as_json=json,
    )


@app.command()
def status(
    tag: FindTagArgument = None, track: FindTrackOption = None, json: JsonOption = False
) -> None:
    """Show the status of a rollout; without TAG, of the running one, else the newest.

    [bold]Examples:[/]

      relight rollout status
      relight rollout status v0.0.74 --track beta --json
    """
    name = find(tag, track, reads_only=True)
    with_temporal(
        lambda client, _: rollout_client.show(client, name, as_json=json), reads_only=True
    )


@app.command()
def watch(
    tag: FindTagArgument = None,
    track: FindTrackOption = None,
    timeout: TimeoutOption = None,
    json: JsonOption = False,
) -> None:
    """Follow a rollout until it ends. Exit code 0 only if every route converged.

    Ctrl-C ends only this command. --json prints a stream: at every change one line with the
    full status.

    [bold]Example:[/]

      relight rollout watch v0.0.74
    """
    name = find(tag, track, reads_only=True)
    patience = Patience(timeout=timeout)
    with_temporal(
        lambda client, _: rollout_client.watch(client, name, patience, as_json=json),
        reads_only=True,
    )


@app.command()
def why(
    tag: FindTagArgument = None, track: FindTrackOption = None, json: JsonOption = False
) -> None:
    """Show what a rollout waits for, since when and until when, and what to do.

    Each failed host is named with its fault, the remedy and the next command; of many the first.

    [bold]Examples:[/]

      relight rollout why
      relight rollout why --json | jq -r '.failed[].command'
    """
    name = find(tag, track, reads_only=True)
    with_temporal(lambda client, _: rollout_client.why(client, name, as_json=json), reads_only=True)


app.add_typer(rollout_image.app)
app.add_typer(rollout_history.app)
app.add_typer(rollout_controls.app)
