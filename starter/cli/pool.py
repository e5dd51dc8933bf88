"""`relight pool`: spare machines, installed and proven, that serve no route yet."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from starter.cli.output import (
    JsonOption,
    print_json,
    print_line,
    print_table,
)
from starter.cli.session import (
    DEFAULT_REASON,
    ReasonOption,
    fleet_store,
    operation,
)
from starter.cli.times import age

app = typer.Typer(no_args_is_help=True)

_STYLES = {"ready": "green", "faulted": "bold red"}


@app.command("set")
def set_(
    provider: Annotated[str, typer.Argument(help="The provider's name, as in lab.")],
    region: Annotated[str, typer.Argument(help="The region's name at the provider, as in eu-1.")],
    size: Annotated[int, typer.Argument(min=0, help="How many to keep ready; 0 empties the pool.")],
    reason: ReasonOption = DEFAULT_REASON,
) -> None:
    """Set how many machines of a region's pool should be ready.

    The next reconcile run fills the pool, and so does each replacement in the region.

    [bold]Examples:[/]

      relight pool set lab eu-1 2
      relight pool set lab eu-1 0 --reason "we leave this region"
    """
    with fleet_store() as store:
        store.pool_sizes.set(provider, region, size, operation(reason))
    print_line(f"the pool of {provider}/{region} should have {size}")


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the pools, with the target size and the machines of each.

    [bold]Examples:[/]

      relight pool list
      relight pool list --json
    """
    with fleet_store() as store:
        sizes, machines = store.pool_sizes.list(), store.pool.list()
    if json:
        print_json({"sizes": sizes, "machines": machines})
        return
    if not sizes and not machines:
        print_line("no pools yet: create one with `relight pool set PROVIDER REGION SIZE`")
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
            ("machine", "location", "status", "since", "proven", "age"),
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
