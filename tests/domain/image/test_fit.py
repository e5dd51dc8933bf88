"""Whether an image holds what a release needs."""

import pytest

from relight.domain.image.fit import ReleaseNeeds, why_unfit
from relight.releases.dependencies import parse_dependencies
from relight.releases.versions import compare
from tests.store.images import manifest

IMAGE = manifest(
    "base-1-amd64",
    packages={"libc6": "2.36-9+deb12u10", "mawk": "1.3.4-2", "libcurl4t64": "8.5.0-2"},
    provides=("awk", "libcurl4 (= 8.5.0-2)"),
)


def needs(depends: str, *offered: str) -> ReleaseNeeds:
    return ReleaseNeeds(
        tag="v0.0.74", dependencies=parse_dependencies(depends), offered=frozenset(offered)
    )


@pytest.mark.parametrize(
    "depends",
    [
        "",
        "libc6",
        "libc6 (>= 2.34), mawk",
        "libc6 (>> 2.36-9), libc6 (<< 3), libc6 (<= 2.36-9+deb12u10), libc6 (= 2.36-9+deb12u10)",
        "gawk | mawk",
        "awk",
        "libc6:any",
        "libcurl4 (>= 8.5)",
        "libc6 (>= 2.34) ,\n nftables | mawk,",
    ],
)
def test_an_image_with_all_dependencies_fits(depends):
    assert why_unfit(IMAGE, [needs(depends)], compare) is None


@pytest.mark.parametrize(
    ("depends", "named"),
    [
        ("libc6 (>= 2.34), wireguard-tools", "wireguard-tools;"),
        ("nftables (>= 1.0) | iptables", "nftables (>= 1.0) or iptables;"),
        ("libc6 (>= 2.37)", "libc6 (>= 2.37);"),
        ("libc6 (<< 2.36)", "libc6 (<< 2.36);"),
        ("awk (>= 1)", "awk (>= 1);"),
        ("libcurl4 (>= 8.6)", "libcurl4 (>= 8.6);"),
        ("a, b", "a, b;"),
    ],
)
def test_what_an_image_lacks_is_named(depends, named):
    why = why_unfit(IMAGE, [needs("libc6"), needs(depends)], compare)
    assert why is not None
    assert why.startswith(f"image base-1-amd64 lacks what v0.0.74 depends on: {named}")


def test_what_the_source_of_the_release_offers_needs_not_be_in_the_image():
    depends = "lantern-tools (= 0.0.74), wireguard-tools"
    assert why_unfit(IMAGE, [needs(depends, "lantern-tools", "wireguard-tools")], compare) is None
    why = why_unfit(IMAGE, [needs(depends, "lantern-tools")], compare)
    assert why is not None
    assert "depends on: wireguard-tools;" in why


def test_an_image_without_a_desired_release_does_not_fit():
    why = why_unfit(IMAGE, [], compare)
    assert why is not None
    assert "no release is desired" in why
    assert "relight settings set --help" in why


def test_many_missing_packages_are_counted():
    why = why_unfit(IMAGE, [needs(", ".join(f"p{n}x" for n in range(13)))], compare)
    assert why is not None
    assert "p9x and 3 more;" in why
