"""`relight pool`: spare machines, installed and proven, that serve no route yet."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from relight.domain.breaker.breaker import Breaker
from relight.domain.pool.planner import why_pool_waits
from relight.domain.pool.pool import PoolMachine, PoolStatus, PoolTarget
from relight.settings import load_settings
from starter.cli.confirmation import YesOption, confirm
from starter.cli.errors import BadInputError, RefusedError
from starter.cli.liveness_text import shown_pool_status
from starter.cli.locations import require_location
from starter.cli.output import (
    JsonOption,
    print_done,
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

if TYPE_CHECKING:  # slow to import: only commands that need it do so
    from relight.store.pool_sizes import PoolSize
    from relight.store.store import Store

app = typer.Typer(no_args_is_help=True)

_STYLES = {"ready": "green", "unreachable": "bold red", "faulted": "bold red"}


@app.command("set")
def set_(
    provider: Annotated[str, typer.Argument(help="The provider's name, as in lab.")],
    region: Annotated[str, typer.Argument(help="The region's name at the provider, as in eu-1.")],
    size: Annotated[int, typer.Argument(min=0, help="How many to keep ready; 0 empties the pool.")],
    unchecked: Annotated[
        bool,
        typer.Option(
            "--unchecked",
            help="Do not check whether the provider has the region, as while it does not answer.",
            show_default=False,
        ),
    ] = False,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Set how many machines of a region's pool should be ready.

    The next reconcile run fills the pool, and so does each replacement in the region. A location
    that the provider does not have, and a size above RELIGHT_POOL__MAX_SIZE, are refused.

    [bold]Examples:[/]

      relight pool set lab eu-1 2
      relight pool set lab eu-1 0 --reason "we leave this region"
    """
    with fleet_store() as store:
        _require_size(size)
        if size > 0:  # A pool is emptied in a region that its provider has closed, too.
            require_location(provider, region, unchecked=unchecked)
        store.pool_sizes.set(provider, region, size, operation(reason))
    print_done(
        f"the pool of {provider}/{region} should have {size}",
        {"provider": provider, "region": region, "size": size},
        as_json=json,
    )


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the pools, with the size, the release and the machines of each, and why one waits.

    The release is the last one that the gates let through, which may not be the declared one.

    [bold]Examples:[/]

      relight pool list
      relight pool list --json
    """
    now = datetime.now(UTC)
    with fleet_store(reads_only=True) as store:
        sizes, machines = store.pool_sizes.list(), store.pool.list()
        targets, breaker = targets_of(store, sizes), store.breaker.get()
    shown = {each.key: shown_pool_status(each) for each in machines}
    if json:
        waits = [why_pool_waits(each, now) for each in targets]
        pools = [
            {
                **size.model_dump(),
                "release_tag": target.release_tag,
                "release_reason": target.release_reason,
                "waits": why,
            }
            for size, target, why in zip(sizes, targets, waits, strict=True)
        ]
        print_json(
            {
                "sizes": pools,
                "machines": [{**dict(each), "status": shown[each.key]} for each in machines],
            }
        )
        return
    if not sizes and not machines:
        print_line("no pools yet: create one with `relight pool set PROVIDER REGION SIZE`")
        return
    print_pools(targets, machines, breaker, now)
    if machines:
        print_line("")
        print_table(
            ("machine", "location", "status", "since", "proven", "age", "fault"),
            (
                (
                    each.key,
                    f"{each.provider}/{each.region}",
                    shown[each.key],
                    age(now - each.since),
                    each.release_tag,
                    age(now - each.created_at),
                    each.current_faults[-1].kind if each.current_faults else None,
                )
                for each in machines
            ),
            styles=_STYLES,
        )


@app.command()
def retry(
    provider: Annotated[str, typer.Argument(help="The provider's name, as in lab.")],
    region: Annotated[str, typer.Argument(help="The region's name at the provider, as in eu-1.")],
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Make a pool try again to make machines ready, after it was stopped or while it pauses.

    The next reconcile run tries.

    [bold]Example:[/]

      relight pool retry lab eu-1 --reason "the package is repaired"
    """
    with fleet_store() as store:
        has_pool = store.pool_sizes.retry(provider, region, operation(reason))
    if not has_pool:
        msg = f"{provider}/{region} has no pool: `relight pool list` shows those that there are"
        raise BadInputError(msg)
    print_done(
        f"the pool of {provider}/{region} tries again in the next reconcile run",
        {"provider": provider, "region": region},
        as_json=json,
    )


@app.command()
def recycle(
    machine: Annotated[str, typer.Argument(help="Its key, as `relight pool list` shows it.")],
    *,
    yes: YesOption = False,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Take a machine out of its pool; the next reconcile run destroys it, whatever it answers.

    This is a person's word, and it is recorded. The breaker and the hourly limits apply. The
    machine can no longer be claimed, and another one is created in its place.

    [bold]Example:[/]

      relight pool recycle pool-lab-eu-1-3 --reason "another host key answers there"
    """
    confirm(f"machine {machine} leaves its pool and is destroyed", yes=yes)
    with fleet_store() as store:
        # A word counts for ever, so none is recorded about a machine that a route has claimed.
        if not store.pool.mark_leaving(machine, operation(reason)):
            msg = f"no pool has a machine {machine}: `relight pool list` shows those that there are"
            raise BadInputError(msg)
        store.destruction_evidence.request_removal(machine, operation(reason))
    print_done(
        f"{machine} leaves its pool; the next reconcile run destroys it",
        {"machine_key": machine},
        as_json=json,
    )


@app.command()
def delete(
    provider: Annotated[str, typer.Argument(help="The provider's name, as in lab.")],
    region: Annotated[str, typer.Argument(help="The region's name at the provider, as in eu-1.")],
    *,
    yes: YesOption = False,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Delete an empty pool of size 0, with the record of its failed tries.

    [bold]Example:[/]

      relight pool delete lab eu-1 --reason "we have left this region"
    """
    confirm(f"the pool of {provider}/{region} is removed from the record", yes=yes)
    with fleet_store() as store:
        refusal = store.deletions.delete_pool(provider, region, operation(reason))
    if refusal is not None:
        raise RefusedError(refusal)
    print_done(
        f"the pool of {provider}/{region} is deleted",
        {"provider": provider, "region": region},
        as_json=json,
    )


def _require_size(size: int) -> None:
    limit = load_settings().pool.max_size
    if size > limit:
        msg = (
            f"a pool may have {limit} machines, not {size}: each is paid for while it waits; "
            "RELIGHT_POOL__MAX_SIZE sets another limit"
        )
        raise BadInputError(msg)


def targets_of(store: "Store", sizes: "list[PoolSize]") -> list[PoolTarget]:
    """Return what each of these pools should be."""
    from relight.pool_target import pool_targets  # noqa: PLC0415

    settings = load_settings()
    return pool_targets(store, sizes, settings.pool, settings.reconcile.replacement)


def print_pools(
    targets: list[PoolTarget], machines: list[PoolMachine], breaker: Breaker, now: datetime
) -> None:
    """Print one line for each pool: how many are ready, at which release, and why it waits."""
    for target in targets:
        ready = sum(
            (each.provider, each.region, shown_pool_status(each))
            == (target.provider, target.region, PoolStatus.READY)
            for each in machines
        )
        line = f"{target.provider}/{target.region}: {ready} of {target.size} are ready"
        if target.release_tag is not None:
            line += f", at {target.release_tag} ({target.release_reason})"
        waits = why_pool_waits(target, now)
        if waits is None and breaker.is_open:
            waits = "the breaker is open, so it is only observed: see `relight breaker status`"
        if waits is not None and ready < target.size:
            line += f"; {waits}"
        print_line(line)
