"""Each driver over an unreliable vendor, in workers that are killed; and who judges that."""

from datetime import UTC, datetime, timedelta

import pytest

from devkit.chaos.drivers.driver_worker import Call
from devkit.chaos.drivers.judge import violations
from devkit.chaos.drivers.play import play
from devkit.chaos.drivers.record import opened_records
from relight.domain.machine import Machine, MachineStatus
from tests.providers.fakes import FAKES
from tests.providers.fakes.bill import Bill, Billed

KEY, OTHER = "r-1-g1", "r-2-g1"
FOREIGN = "foreign-1"
CALLS = 60


@pytest.mark.slow
@pytest.mark.attack("a vendor that loses, repeats and refuses answers while workers are killed")
@pytest.mark.parametrize("provider", sorted(FAKES))
async def test_no_machine_is_left_made_twice_or_taken(provider):
    played = await play(provider, calls=CALLS, keys=10, seed=1)
    assert played.violations == []
    assert played.calls[Call.ENSURE] + played.calls[Call.DESTROY] >= CALLS
    assert played.created >= played.destroyed > CALLS / 4
    assert played.kills > 0
    assert played.injected.total() > CALLS / 2


class Account:
    """A bill and the record of the same machine; each is right until a test changes it."""

    def __init__(self, records):
        self.records = records
        self.bill = Bill()
        records.plan(KEY, "vendor", "north")
        self.bill.begin(Billed.MACHINE, "1", KEY, now())
        self.bill.begin(Billed.VOLUME, "1", KEY, now())
        records.observe(machine("1"))
        self.bill.begin(Billed.MACHINE, FOREIGN, OTHER, now())

    def violations(self):
        entries, records = self.bill.entries(), self.records.all()
        return violations(entries, records, {FOREIGN}, now())


def now():
    return datetime.now(UTC)


def machine(id):
    return Machine(
        key=KEY,
        provider="vendor",
        provider_id=f"north:{id}",
        region="north",
        architecture="amd64",
        status=MachineStatus.RUNNING,
    )


@pytest.fixture
def account(tmp_path):
    with opened_records(tmp_path) as records:
        yield Account(records)


def end(account, at=None):
    at = at or now()
    account.bill.end(Billed.MACHINE, "1", at)
    account.bill.end(Billed.VOLUME, "1", at)


def test_what_is_billed_and_on_record_is_right_while_it_runs_and_after_it(account):
    assert account.violations() == []
    end(account)
    account.records.destroyed(KEY)
    assert account.violations() == []


def test_a_machine_without_a_record_is_an_orphan(account):
    account.bill.begin(Billed.MACHINE, "7", "r-7-g1", now())
    assert account.violations() == [
        "7 (r-7-g1) is an orphan",
        "machine 7 (r-7-g1) was billed, and is not on record",
    ]


def test_a_machine_that_was_recorded_as_destroyed_and_runs_is_an_orphan(account):
    account.records.destroyed(KEY)
    assert "1 (r-1-g1) is an orphan" in account.violations()


def test_two_machines_of_a_key_are_twins(account):
    account.bill.begin(Billed.MACHINE, "2", KEY, now())
    assert "1 and 2 are twins of r-1-g1" in account.violations()


def test_a_foreign_machine_that_ended_was_touched(account):
    account.bill.end(Billed.MACHINE, FOREIGN, now())
    assert account.violations() == ["the foreign machine foreign-1 (r-2-g1) was destroyed"]


def test_a_volume_that_outlives_its_machine_is_left(account):
    account.bill.end(Billed.MACHINE, "1", now())
    account.records.destroyed(KEY)
    assert "the boot volume 1 of r-1-g1 is left" in account.violations()


@pytest.mark.parametrize("late", [timedelta(seconds=1), timedelta(milliseconds=20)])
def test_what_is_billed_after_its_record_has_ended_is_a_difference(account, late):
    account.records.destroyed(KEY)
    end(account, account.records.all()[0].destroyed_at + late)
    assert [each for each in account.violations() if "is on record from" in each]


def test_what_was_billed_before_it_was_planned_is_a_difference(account):
    early = now() - timedelta(seconds=5)
    account.records.plan("r-3-g1", "vendor", "north")
    account.bill.begin(Billed.VOLUME, "3", "r-3-g1", early)
    account.bill.end(Billed.VOLUME, "3", early)
    assert [each for each in account.violations() if "is on record from" in each]


def test_a_record_without_a_bill_is_a_difference(account):
    end(account)
    assert [each for each in account.violations() if "runs on record, and ended" in each]
    account.records.observe(machine("8"))
    assert "north:8 (r-1-g1) is on record, and was never billed" in account.violations()
