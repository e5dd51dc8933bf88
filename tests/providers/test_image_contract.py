"""The contract of every driver that base images can be published to."""

import asyncio

import pytest

from devkit.chaos.provider_faults import Call, ProviderFault
from devkit.simulated.images import ImageTrap
from devkit.simulated.parts import OWNER
from relight.domain.image.image import ImageRef, ImageStatus, Visibility
from relight.providers.driver import (
    MachineConflictError,
    ProviderAnswerError,
    ProviderCredentialsError,
    ProviderError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
)
from relight.providers.image_driver import Delivery, ImageDriver, ImageInUseError
from starter.local.children import wait_until
from tests.providers.fakes.base import Trap, VendorFake
from tests.support.image_clouds import (
    ANOTHER_IDENTITY,
    DEADLINE,
    IDENTITY,
    IMAGE_CLOUDS,
    ImageCloud,
    image_cloud,
)

UNDER_WAY = {ImageStatus.WAITING, ImageStatus.IMPORTING, ImageStatus.AVAILABLE}

NO_ANSWER = (
    *(ProviderFault.REPLY_LOST, ProviderFault.UNREADABLE),
    *(ProviderFault.UNANSWERED, ProviderFault.SERVER_ERROR),
)


@pytest.fixture(params=IMAGE_CLOUDS)
async def subject(request):
    async with image_cloud(request) as cloud:
        yield cloud


def the_fake(subject: ImageCloud):
    """Return the fake that a test changes; skip it where there is none."""
    if subject.fake is None:
        pytest.skip("only a fake can be made to do so")
    return subject.fake


def set_trap(subject: ImageCloud, trap: ImageTrap):
    fake = the_fake(subject)
    known = fake.IMAGE_TRAPS if isinstance(fake, VendorFake) else fake.TRAPS
    if trap not in known:
        pytest.skip(f"not at this vendor: {trap}")
    fake.image_traps.add(trap)
    return fake


# ---------------------------------------------------------------------- an image comes to a region


def test_a_driver_says_what_it_can_do(subject):
    assert isinstance(subject.driver, ImageDriver)
    limits = subject.driver.image_limits
    assert limits.delivery in Delivery
    assert limits.max_in_flight >= 1
    assert limits.stagger < limits.start_within <= limits.finish_within


async def test_an_image_is_imported_and_becomes_available(subject):
    name = subject.new_name()
    begun = await subject.driver.import_image(subject.spec(name), subject.disk())
    assert begun.status in UNDER_WAY
    assert (begun.name, begun.region) == (name, subject.region)
    found = await subject.until_available(begun)
    assert (found.name, found.provider, found.region) == (
        name,
        subject.driver.name,
        subject.region,
    )
    assert (found.owner, found.identity, found.architecture) == (OWNER, IDENTITY, "amd64")
    assert found.visibility is Visibility.PRIVATE
    assert found.created_at is not None
    assert found in await subject.listed(name)
    # The id of an image, unlike that of an order, stays.
    assert await subject.driver.image(found) == found


async def test_the_bytes_that_are_sent_are_reported_while_they_are(subject):
    if subject.driver.image_limits.delivery is not Delivery.UPLOAD:
        pytest.skip("the provider fetches the disk")
    await subject.driver.import_image(subject.spec(subject.new_name()), subject.disk())
    assert subject.sent == sorted(subject.sent)
    assert subject.sent[-1] > 0


async def test_an_order_is_listed_before_there_is_an_image(subject):
    name = subject.new_name()
    begun = await subject.driver.import_image(subject.spec(name), subject.disk())
    [listed] = await subject.listed(name)
    assert (listed.name, listed.region, listed.owner) == (name, subject.region, OWNER)
    assert listed.status in UNDER_WAY
    seen = await subject.driver.image(begun)
    assert seen is not None
    assert seen.name == name


async def test_images_are_listed_by_the_beginning_of_their_names_and_in_order(subject):
    names = sorted(subject.new_name() for _ in range(3))
    for name in reversed(names):
        await subject.imported(name)
    await subject.imported(subject.new_name("contract2-"))
    other = subject.new_name("x-contract-")
    await subject.imported(other)
    listed = await subject.listed("contract-")
    assert [each.name for each in listed] == names
    assert other in [each.name for each in await subject.listed("")]
    assert await subject.listed("contract-", subject.other_region) == []


async def test_importing_twice_makes_one_image(subject):
    name = subject.new_name()
    first = await subject.imported(name)
    second = await subject.driver.import_image(subject.spec(name), subject.disk())
    assert second.image_id == first.image_id
    assert [each.image_id for each in await subject.listed(name)] == [first.image_id]


async def test_importing_again_while_it_is_under_way_makes_one_image(subject):
    name = subject.new_name()
    for _ in range(3):
        begun = await subject.driver.import_image(subject.spec(name), subject.disk())
    await subject.until_available(begun)
    assert len(await subject.listed(name)) == 1
    if subject.fake is not None:
        assert subject.fake.images_named(name) == 1


@pytest.mark.parametrize(
    ("tags", "text"),
    [({"owner": "another-owner"}, "another-owner"), ({"identity": ANOTHER_IDENTITY}, "cdcdcd")],
)
async def test_an_image_of_another_fleet_or_build_is_never_adopted(subject, tags, text):
    name = subject.new_name()
    begun = await subject.driver.import_image(subject.spec(name, **tags), subject.disk())
    first = await subject.until_available(begun)
    with pytest.raises(MachineConflictError, match=text) as refused:
        await subject.driver.import_image(subject.spec(name), subject.disk())
    assert not refused.value.retryable
    assert first.image_id in str(refused.value)
    assert [each.image_id for each in await subject.listed(name)] == [first.image_id]


async def test_an_image_without_tags_is_neither_adopted_nor_deleted(subject):
    name = subject.new_name()
    image_id = the_fake(subject).add_foreign_image(name, subject.region)
    [listed] = await subject.listed(name)
    assert (listed.image_id, listed.owner, listed.identity) == (image_id, None, None)
    with pytest.raises(MachineConflictError):
        await subject.driver.import_image(subject.spec(name), subject.disk())
    with pytest.raises(MachineConflictError, match="no tag of an owner"):
        await subject.driver.delete_image(listed)
    assert await subject.driver.image(listed) == listed


# ---------------------------------------------------------------------- answers that do not come


@pytest.mark.parametrize("fault", NO_ANSWER)
async def test_an_import_without_an_answer_is_repeated_and_makes_one_image(subject, fault):
    name = subject.new_name()
    subject.faults.inject(fault, Call.CREATE)
    with pytest.raises(ProviderUnavailableError) as unanswered:
        await subject.driver.import_image(subject.spec(name), subject.disk())
    assert unanswered.value.retryable
    found = await subject.imported(name)
    assert [each.image_id for each in await subject.listed(name)] == [found.image_id]
    if subject.fake is not None:
        assert subject.fake.images_named(name) == 1


@pytest.mark.parametrize(
    "fault",
    [ProviderFault.UNANSWERED, ProviderFault.SERVER_ERROR, ProviderFault.UNREADABLE],
)
async def test_a_listing_that_fails_is_an_error_and_never_an_empty_one(subject, fault):
    name = subject.new_name()
    found = await subject.imported(name)
    subject.faults.inject(fault, Call.READ)
    with pytest.raises(ProviderUnavailableError):
        await subject.driver.images(subject.region)
    subject.faults.inject(fault, Call.READ)
    with pytest.raises(ProviderUnavailableError):
        await subject.driver.image(found)
    assert await subject.listed(name) == [found]


async def test_a_listing_that_lacks_images_says_so_or_fails(subject):
    await subject.imported(subject.new_name())
    fake = the_fake(subject)
    if not isinstance(fake, VendorFake):
        pytest.skip("it has no pages")
    fake.traps.add(Trap.TRUNCATED_PAGE)
    try:
        listing = await subject.driver.images(subject.region)
    except ProviderAnswerError:
        return
    assert not listing.complete


async def test_pages_without_an_end_are_an_error(subject, monkeypatch):
    monkeypatch.setattr("relight.providers.pages.MAX_PAGES", 20)
    await subject.imported(subject.new_name())
    fake = the_fake(subject)
    if not isinstance(fake, VendorFake):
        pytest.skip("it has no pages")
    fake.traps.add(Trap.ENDLESS_PAGES)
    with pytest.raises(ProviderAnswerError):
        await subject.driver.images(subject.region)


@pytest.mark.parametrize("call", Call)
async def test_a_rate_limit_is_a_retryable_error(subject, call):
    found = await subject.imported(subject.new_name())
    another = subject.new_name()

    async def request() -> None:
        match call:
            case Call.READ:
                await subject.driver.images(subject.region)
            case Call.CREATE:
                await subject.driver.import_image(subject.spec(another), subject.disk())
            case Call.DESTROY:
                await subject.driver.delete_image(found)

    subject.faults.inject(ProviderFault.TOO_MANY_REQUESTS, call)
    with pytest.raises(ProviderRateLimitedError) as refused:
        await request()
    assert refused.value.retryable
    await request()


@pytest.mark.parametrize(
    ("trap", "error"),
    [(Trap.QUOTA, ProviderQuotaError), (Trap.NO_PERMISSION, ProviderCredentialsError)],
)
async def test_a_refused_import_is_the_error_that_it_means(subject, trap, error):
    fake = the_fake(subject)
    if not isinstance(fake, VendorFake):
        pytest.skip("it refuses nothing")
    name = subject.new_name()
    fake.traps.add(trap)
    with pytest.raises(error) as refused:
        await subject.driver.import_image(subject.spec(name), subject.disk())
    assert not refused.value.retryable
    fake.traps.clear()
    assert await subject.listed(name) == []


# ---------------------------------------------------------------------- imports that go wrong


async def test_an_import_that_does_not_start_is_waiting(subject):
    fake = set_trap(subject, ImageTrap.NEVER_STARTS)
    name = subject.new_name()
    begun = await subject.driver.import_image(subject.spec(name), subject.disk())
    for _ in range(4):
        found = await subject.driver.image(begun)
        assert found is not None
        assert found.status is ImageStatus.WAITING
    fake.image_traps.clear()
    await subject.until_available(begun)


@pytest.mark.parametrize("trap", [ImageTrap.REAPED, ImageTrap.FAILS])
async def test_a_failed_import_says_so_and_can_be_repeated(subject, trap):
    fake = set_trap(subject, trap)
    name = subject.new_name()
    begun = await subject.driver.import_image(subject.spec(name), subject.disk())
    failed = await subject.until_ended(begun)
    # A vendor may remove what it could not import.
    assert failed is None or (failed.status is ImageStatus.FAILED and failed.words)
    fake.image_traps.clear()
    found = await subject.imported(name)
    listed = await subject.listed(name)
    assert [each.image_id for each in listed if each.status is ImageStatus.AVAILABLE] == [
        found.image_id
    ]
    assert fake.images_named(name) == 1


@pytest.mark.parametrize(
    ("trap", "visibility"),
    [
        (ImageTrap.PUBLIC, Visibility.PUBLIC),
        (ImageTrap.UNREADABLE_VISIBILITY, Visibility.UNKNOWN),
    ],
)
async def test_who_can_use_an_image_is_read_back(subject, trap, visibility):
    set_trap(subject, trap)
    name = subject.new_name()
    found = await subject.imported(name)
    assert found.visibility is visibility
    [listed] = await subject.listed(name)
    assert listed.visibility is visibility
    # It can be taken away.
    assert await subject.driver.delete_image(found)
    await subject.until_deleted(found)


async def test_a_status_that_is_not_known_says_nothing(subject):
    name = subject.new_name()
    found = await subject.imported(name)
    fake = set_trap(subject, ImageTrap.UNKNOWN_STATUS)
    seen = await subject.driver.image(found)
    assert seen is not None
    [listed] = await subject.listed(name)
    # Neither usable nor failed: nothing deletes it, and it is waited for.
    assert seen.status is listed.status is ImageStatus.IMPORTING
    again = await subject.driver.import_image(subject.spec(name), subject.disk())
    assert again.image_id == found.image_id
    fake.image_traps.clear()
    assert await subject.listed(name) == [found]


# ---------------------------------------------------------------------- copies


def require_copies(subject: ImageCloud) -> None:
    if not subject.driver.image_limits.copies:
        pytest.skip("each region imports the disk")


async def test_an_image_is_copied_to_another_region(subject):
    require_copies(subject)
    name = subject.new_name()
    source = await subject.imported(name)
    spec = subject.spec(name, region=subject.other_region)
    begun = await subject.driver.copy_image(spec, source)
    assert begun.status in UNDER_WAY
    found = await subject.until_available(begun)
    assert (found.name, found.region) == (name, subject.other_region)
    assert (found.owner, found.identity) == (OWNER, IDENTITY)
    assert found.visibility is Visibility.PRIVATE
    again = await subject.driver.copy_image(spec, source)
    assert again.image_id == found.image_id
    assert len(await subject.listed(name, subject.other_region)) == 1
    assert await subject.listed(name) == [source]


async def test_copies_to_regions_at_once_do_not_undo_each_other(subject):
    require_copies(subject)
    name = subject.new_name()
    source = await subject.imported(name)
    regions = (subject.region, subject.other_region)
    begun = await asyncio.gather(
        *(
            subject.driver.copy_image(subject.spec(name, region=region), source)
            for region in regions
        )
    )
    for each in begun:
        await subject.until_available(each)
    for region in regions:
        assert len(await subject.listed(name, region)) == 1


@pytest.mark.parametrize("fault", NO_ANSWER)
async def test_a_copy_without_an_answer_is_repeated_and_makes_one_image(subject, fault):
    require_copies(subject)
    name = subject.new_name()
    source = await subject.imported(name)
    spec = subject.spec(name, region=subject.other_region)
    subject.faults.inject(fault, Call.CREATE)
    with pytest.raises(ProviderUnavailableError):
        await subject.driver.copy_image(spec, source)
    await subject.until_available(await subject.driver.copy_image(spec, source))
    assert len(await subject.listed(name, subject.other_region)) == 1


async def test_a_copy_of_what_is_not_there_is_refused(subject):
    require_copies(subject)
    name = subject.new_name()
    source = await subject.imported(name)
    assert await subject.driver.delete_image(source)
    await subject.until_deleted(source)
    with pytest.raises(ProviderError):
        await subject.driver.copy_image(subject.spec(name, region=subject.other_region), source)
    assert await subject.listed(name, subject.other_region) == []


async def test_one_region_loses_its_copy_and_the_other_keeps_it(subject):
    require_copies(subject)
    name = subject.new_name()
    source = await subject.imported(name)
    spec = subject.spec(name, region=subject.other_region)
    copy = await subject.until_available(await subject.driver.copy_image(spec, source))
    assert await subject.driver.delete_image(source)
    await subject.until_deleted(source)
    assert await subject.driver.image(copy) == copy
    assert await subject.driver.delete_image(copy)
    await subject.until_deleted(copy)


# ---------------------------------------------------------------------- deletions


async def test_an_image_is_deleted_once(subject):
    name = subject.new_name()
    found = await subject.imported(name)
    assert await subject.driver.delete_image(found)
    await subject.until_deleted(found)
    assert await subject.listed(name) == []
    assert await subject.driver.delete_image(found) is False


async def test_an_absent_image_is_none_and_its_deletion_succeeds(subject):
    found = await subject.imported(subject.new_name())
    assert await subject.driver.delete_image(found)
    await subject.until_deleted(found)
    for image_id in (found.image_id, "no-such-id"):
        ref = ImageRef(
            name=found.name, provider=found.provider, region=found.region, image_id=image_id
        )
        assert await subject.driver.image(ref) is None
        assert await subject.driver.delete_image(ref) is False


async def test_deleting_an_id_under_another_name_is_refused_and_deletes_nothing(subject):
    found = await subject.imported(subject.new_name())
    wrong = ImageRef(
        name=subject.new_name(),
        provider=found.provider,
        region=found.region,
        image_id=found.image_id,
    )
    with pytest.raises(MachineConflictError, match=found.name):
        await subject.driver.delete_image(wrong)
    assert await subject.driver.image(found) == found


async def test_an_image_that_something_needs_stays(subject):
    found = await subject.imported(subject.new_name())
    fake = the_fake(subject)
    if isinstance(fake, VendorFake) and not fake.images_can_be_needed:
        pytest.skip("the vendor deletes any image")
    fake.use_image(found.image_id)
    with pytest.raises(ImageInUseError) as used:
        await subject.driver.delete_image(found)
    assert not used.value.retryable
    assert await subject.driver.image(found) == found
    fake.release_image(found.image_id)
    assert await subject.driver.delete_image(found)
    await subject.until_deleted(found)


@pytest.mark.parametrize("fault", [ProviderFault.REPLY_LOST, ProviderFault.UNREADABLE])
async def test_a_deletion_whose_answer_was_lost_still_happens(subject, fault):
    found = await subject.imported(subject.new_name())
    subject.faults.inject(fault, Call.DESTROY)
    with pytest.raises(ProviderUnavailableError):
        await subject.driver.delete_image(found)
    await subject.until_deleted(found)


async def test_a_deletion_that_was_not_done_is_repeated(subject):
    found = await subject.imported(subject.new_name())
    subject.faults.inject(ProviderFault.SERVER_ERROR, Call.DESTROY)
    with pytest.raises(ProviderUnavailableError):
        await subject.driver.delete_image(found)
    assert await subject.driver.image(found) is not None
    assert await subject.driver.delete_image(found)
    await subject.until_deleted(found)


# ---------------------------------------------------------------------- use


async def test_a_machine_is_made_of_an_image_and_names_it(subject):
    found = await subject.imported(subject.new_name())
    key = f"contract-{found.name[9:17]}-g1"
    machine = await subject.driver.ensure(key, subject.machine(found.image_id))
    assert await subject.driver.image_of(machine.provider_id) == found.image_id
    assert await subject.driver.image_of("no-such-id") is None
    await subject.driver.destroy(machine.ref)

    async def gone() -> bool:
        return await subject.driver.find(key) is None

    await wait_until(gone, DEADLINE)
