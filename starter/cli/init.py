"""`relight init`."""

import asyncio
from typing import Annotated

import typer

from relight.engine.connection import connect, require_search_attributes
from relight.home import own_temporal_runs
from relight.settings import Settings, load_settings
from starter.cli.output import JsonOption, print_json, print_table
from starter.cli.session import announce
from starter.local.home import prepare_home
from starter.local.membership import join_fleet, prepare_store

app = typer.Typer(add_completion=False)

AdoptOption = Annotated[
    bool,
    typer.Option(
        "--adopt-temporal",
        help="The Temporal namespace is this store's from now on, although the store has worked "
        "with another, or workflows of an unnamed fleet are in it.",
    ),
]


@app.command()
def init(adopt: AdoptOption = False, json: JsonOption = False) -> None:
    """Make a fleet, or complete one: its store and keys, and its mark in Temporal.

    A store without tables gets them, with a random fleet id; without RELIGHT_STORE_URL it is made
    in the home folder, with the keys. The namespace of the Temporal that TEMPORAL_ADDRESS or
    TEMPORAL_CONFIG_FILE names is marked with the id. Commands and workers refuse a store and a
    Temporal of two fleets. It is safe to repeat. `relight up` does all this for its own server.

    [bold]Examples:[/]

      TEMPORAL_ADDRESS=temporal.example:7233 relight init
      relight init --adopt-temporal      the namespace of before is lost
    """
    settings = load_settings(to_make=True)
    announce(settings)
    if settings.has_embedded_store:
        prepare_home(settings.home)
    fleet_id, temporal = asyncio.run(_init(settings, adopt=adopt))
    home = settings.home if settings.has_embedded_store else None
    if json:
        print_json({"fleet": fleet_id, "temporal": temporal, "home": home})
        return
    rows = (
        ("Fleet", fleet_id),
        ("Home", home),
        ("Temporal", temporal or "none is set: `relight up` starts one, or set TEMPORAL_ADDRESS"),
    )
    print_table(("part", "is"), (row for row in rows if row[1] is not None))


async def _init(settings: Settings, *, adopt: bool) -> tuple[str, str | None]:
    """Return the fleet's id, and the address and namespace of its Temporal."""
    own_server = not settings.context.names_a_server
    if own_server and not own_temporal_runs(settings.home):
        with await asyncio.to_thread(prepare_store, settings) as store:
            return (await asyncio.to_thread(store.fleet_identity.get)).fleet_id, None
    client = await connect(settings)
    await require_search_attributes(client)
    identity = await join_fleet(client, settings, own_server=own_server, adopt=adopt)
    address = client.service_client.config.target_host
    return identity.fleet_id, f"{address}, namespace {client.namespace}"
