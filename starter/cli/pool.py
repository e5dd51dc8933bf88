"""`relight pool`: warm machines, installed and proven, that serve no route yet."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from starter.cli.output import (
    JsonOption,
    print_json,
    print_line,
    print_table,
)
from starter.cli.route_table import age
from starter.cli.session import (
    BY_HAND,
    ReasonOption,
    by_hand,
    the_store,
)

app = typer.Typer(no_args_is_help=True)

_STYLES = {"ready": "green", "faulted": "bold red"}


@app.command("set")
def set_(
    provider: Annotated[str, typer.Argument(help="The provider's name, as in lab.")],
    region: Annotated[str, typer.Argument(help="The provider's name of it, as in eu-1.")],
    size: Annotated[int, typer.Argument(min=0, help="How many are ready; 0 empties the pool.")],
    reason: ReasonOption = BY_HAND,
) -> None:
    """Say how many machines of a region's pool should be ready.

    The next pass of reconciliation brings it there, and so does each replacement in the region.

    [bold]Examples:[/]

      relight pool set lab eu-1 2
      relight pool set lab eu-1 0 --reason "we leave this region"
    """
    with the_store() as store:
        store.pool_sizes.set(provider, region, size, by_hand(reason))
    print_line(f"the pool of {provider}/{region} should have {size}")


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the pools: how many machines each should have ready, and those that it has.

    [bold]Examples:[/]

      relight pool list
      relight pool list --json
    """
    with the_store() as store:
        sizes, machines = store.pool_sizes.list(), store.pool.list()
    if json:
        print_json({"sizes": sizes, "machines": machines})
        return
    if not sizes and not machines:
        print_line("no pools yet: make one with `relight pool set PROVIDER REGION SIZE`")
        return
    for size in sizes:
        ready = sum(
            (each.provider, each.region, each.status) == (size.provider, size.region, "ready")
            for each in machines
        )
        print_line(f"{size.provider}/{size.region}: {ready} of {size.size} are ready")
    if machines:
        print_line("")
        now = datetime.now(UTC)
        print_table(
            ("machine", "where", "status", "since", "proven", "age"),
            (
                (
                    each.key,
                    f"{each.provider}/{each.region}",
                    each.status.value,
                    age(now - each.since),
                    each.release_tag,
                    age(now - each.created_at),
                )
                for each in machines
            ),
            styles=_STYLES,
        )
