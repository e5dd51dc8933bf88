"""Rules of the faults of base images."""

from collections.abc import Mapping

from relight.domain.fault.fault import FaultClass
from relight.domain.fault.rule import Remedy, Rule

PROVIDER, CONTROLLER = FaultClass.PROVIDER, FaultClass.CONTROLLER

_MISSING = "`relight image publish IMAGE --missing` tries the regions without it again."

IMAGE_RULES: Mapping[str, Rule] = {
    "image-failed": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "The provider could not import the image, or has it no more.",
        f"The message has its answer. {_MISSING}",
    ),
    "image-late": Rule(
        PROVIDER,
        False,
        Remedy.WAIT,
        "The provider did not begin or end the import of an image in the time that it has.",
        f"Check the provider's status page. The order was withdrawn. {_MISSING}",
    ),
    "image-exposed": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "An image can be used by others than us, or the provider does not say who can.",
        "It was deleted at once. Check the account's settings for images at the provider, and who "
        f"has had it. {_MISSING}",
    ),
    "image-unstaged": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "The provider imports disks from object storage only, and none is set for it.",
        "Add the table `staging` of the provider to `providers.toml`, and restart `relight worker`."
        f" {_MISSING}",
    ),
    "image-unusable": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "The worker does not have the image's disk and manifest, or they do not fit each other.",
        "Build the image, or copy NAME.qcow2 and NAME.json to the folder that the worker has in "
        "RELIGHT_IMAGES__FOLDER. Nothing was published.",
    ),
    "image-conflict": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "Another build of the image is on record under its name.",
        "Build it under another label: a name means one content for ever. `relight image label` "
        "shows the next one. Nothing was published.",
    ),
    "unknown-image": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "The image is not on record, or not in the region.",
        "`relight image publish IMAGE` brings it to the regions.",
    ),
    "image-contract-violated": Rule(
        FaultClass.HOST,
        False,
        Remedy.ASK,
        "A new machine does not hold what the contract of its image says.",
        "The message names the lines of the contract. The machine does not serve. Build the image "
        "again, or pin one from before, which `relight image list` shows. Then "
        "`relight route replace ROUTE` gives the route a machine; "
        "`relight route provision ROUTE --track TRACK --region REGION` does if it has had none.",
    ),
    "image-unfit": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "No machine of the image could run the release that the fleet is declared to have.",
        "The message says what is missing: `relight settings set default_release_tag TAG` declares "
        "a release; a package that the release needs belongs into the image's contract.",
    ),
}
"""The rule of each kind."""
