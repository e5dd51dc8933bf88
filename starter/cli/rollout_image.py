"""`relight rollout image`: give routes new machines of a base image, wave by wave."""

from typing import Annotated

import typer

from relight.domain.image.fit import NO_RELEASE
from relight.domain.rollout.rollout import RolloutReleaseInput
from relight.domain.rollout.strategy import Strategy
from starter.cli import completion, rollout_client
from starter.cli.errors import RefusedError
from starter.cli.kept_configuration import declared_release
from starter.cli.names import image_name_of, track_or_none
from starter.cli.output import JsonOption
from starter.cli.rollout_name import scope_of
from starter.cli.session import (
    DEFAULT_REASON,
    ReasonOption,
    fleet_store,
    origin,
    with_temporal,
)
from starter.cli.strategy_options import require_growing_waves, takes_strategy
from starter.cli.waiting import TimeoutOption, patience_of

app = typer.Typer()


@app.command("image")
@takes_strategy
def image(
    *,
    name: Annotated[
        str, typer.Argument(metavar="NAME", callback=image_name_of, help="The image's name.")
    ],
    track: Annotated[
        str | None,
        typer.Option(
            "--track",
            "-t",
            callback=track_or_none,
            autocompletion=completion.tracks,
            help="Only the routes of this track.",
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait",
            help="Wait until it ends; exit code 0 only if every route has a new machine.",
        ),
    ] = False,
    timeout: TimeoutOption = None,
    strategy: Strategy,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Give every route a new machine of an image, from the pool if that has one.

    Waves, gates and budgets are those of `start`. A route keeps the release that it has to run. Its
    old machine serves until the new one is proven, and is then drained and destroyed, as
    `relight breaker status` allows. If the rollout stops, the routes that it has not reached keep
    their machines; it does not go back: `relight rollout image` with the image from before does.
    From then on the image that failed is taken for new machines only if it is pinned.

    Routes whose machines are of the image already, or of another architecture, are left out. An
    image that a region lacks, or that lacks what a release depends on, is refused, and nothing
    changes. So it is while a release is rolled out over the same routes.

    [bold]Examples:[/]

      relight rollout image relight-base-0.0.74-amd64 --wave 1 --wave 25% --wait
      relight rollout image relight-base-0.0.74-amd64 --track beta --region-budget 10% --soak 30m
    """
    patience = patience_of(timeout, waits=wait, option="add --wait")
    scope = scope_of(track)
    with fleet_store() as store:
        require_growing_waves(strategy.waves, len(store.routes.in_scope(scope)))
        tag = declared_release(store, scope)
    if tag is None:
        msg = f"image {name}: {NO_RELEASE}"
        raise RefusedError(msg)
    request = RolloutReleaseInput(
        release_tag=tag,
        image_name=name,
        scope=scope,
        origin=origin(reason),
        strategy=strategy.model_copy(update={"roll_back": False}),
    )
    with_temporal(
        lambda client, settings: rollout_client.start(
            client, settings.task_queue, request, patience, as_json=json
        )
    )
