"""Which platform's image a build for another platform takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basetracker.oci.platform import Platform

SERVER_2022 = "10.0.20348.2227"
ROWS = [
    # ours, offered, is the same platform, runs here
    (("linux", "amd64"), ("linux", "amd64"), True, True),
    (("linux", "amd64"), ("linux", "arm64"), False, False),
    (("linux", "amd64"), ("windows", "amd64"), False, False),
    (("linux", "arm64"), ("linux", "arm64", "v8"), True, True),
    (("linux", "arm64", "v8"), ("linux", "arm64"), True, True),
    (("linux", "arm64", "8"), ("linux", "arm64", "v8"), True, True),
    (("linux", "arm64"), ("linux", "arm64", "v9"), False, False),
    (("linux", "arm64", "v9"), ("linux", "arm64"), False, True),
    (("linux", "arm64", "v8.2"), ("linux", "arm64", "v8"), False, True),
    (("linux", "arm"), ("linux", "arm", "v7"), True, True),
    (("linux", "arm", "v7"), ("linux", "arm", "v6"), False, True),
    (("linux", "arm", "v6"), ("linux", "arm", "v7"), False, False),
    (("linux", "arm64"), ("linux", "arm", "v7"), False, False),
    (("linux", "amd64"), ("linux", "amd64", "v1"), True, True),
    (("linux", "amd64", "v3"), ("linux", "amd64"), False, True),
    (("linux", "amd64"), ("linux", "amd64", "v3"), False, False),
    (("linux", "amd64"), ("linux", "x86_64"), True, True),
    (("Linux", "AMD64"), ("linux", "amd64"), True, True),
    (("linux", "aarch64"), ("linux", "arm64", "v8"), True, True),
    (("linux", "armhf"), ("linux", "arm", "v7"), True, True),
    (("linux", "riscv64"), ("linux", "riscv64"), True, True),
    (("linux", "ppc64le", "power9"), ("linux", "ppc64le", "power10"), False, False),
    (("linux", "ppc64le", "power9"), ("linux", "ppc64le", "power9"), True, True),
    (("linux", "s390x", "z13"), ("linux", "s390x"), False, False),
    (("windows", "amd64", "", SERVER_2022), ("windows", "amd64", "", SERVER_2022), True, True),
    (("windows", "amd64", "", SERVER_2022), ("windows", "amd64", "", "10.0.20348.1"), True, True),
    (("windows", "amd64", "", SERVER_2022), ("windows", "amd64", "", "10.0.20348"), True, True),
    (("windows", "amd64", "", SERVER_2022), ("windows", "amd64", "", "10.0.17763.1"), False, False),
    (("windows", "amd64", "", SERVER_2022), ("windows", "amd64"), True, True),
    (("windows", "amd64"), ("windows", "amd64", "", SERVER_2022), True, True),
    (("linux", "amd64", "", "5.10"), ("linux", "amd64", "", "6.1"), True, True),
]


@pytest.mark.parametrize(
    ("ours", "offered", "same", "runs"),
    [(Platform(*a), Platform(*b), same, runs) for a, b, same, runs in ROWS],
    ids=str,
)
def test_matching(ours: Platform, offered: Platform, same: bool, runs: bool) -> None:
    assert ours.matches(offered) is same
    assert (ours.distance(offered) is not None) is runs


def test_the_nearer_variant_is_the_better_one() -> None:
    ours = Platform("linux", "arm", "v7")
    distances = [ours.distance(Platform("linux", "arm", variant)) for variant in ("v7", "v6", "v5")]
    assert distances[0] == 0
    assert all(distance is not None for distance in distances)
    assert distances == sorted(distances, key=lambda distance: distance or 0)
    assert len(set(distances)) == 3


def test_a_named_windows_build_goes_before_one_that_isnt() -> None:
    ours = Platform("windows", "amd64", "", SERVER_2022)
    exact, open_one = ours.distance(ours), ours.distance(Platform("windows", "amd64"))
    assert exact is not None
    assert open_one is not None
    assert exact < open_one


@pytest.mark.parametrize(
    ("platform", "text", "known"),
    [
        (Platform("linux", "amd64"), "linux/amd64", True),
        (Platform("linux", "arm64", "v8"), "linux/arm64/v8", True),
        (Platform("windows", "amd64", "", SERVER_2022), f"windows({SERVER_2022})/amd64", True),
        (Platform("windows", "amd64"), "windows/amd64", True),
        (Platform("linux", "amd64", "", "6.1"), "linux/amd64", True),
        (Platform("unknown", "unknown"), "unknown/unknown", False),
        (Platform("linux", "unknown"), "linux/unknown", False),
        (Platform("linux", ""), "linux", False),
        (Platform("", "amd64"), "amd64", False),
        (Platform("", ""), "no named platform", False),
    ],
    ids=str,
)
def test_what_is_said_of_it(platform: Platform, text: str, known: bool) -> None:
    assert str(platform) == text
    assert platform.is_known is known


_PLATFORMS = st.builds(
    Platform,
    st.sampled_from(["linux", "Linux", "windows", "freebsd", ""]),
    st.sampled_from(["amd64", "x86_64", "arm64", "aarch64", "arm", "armhf", "386", "s390x", ""]),
    st.sampled_from(["", "v1", "v3", "v5", "v6", "v7", "v8", "8", "v8.5", "v9", "z13"]),
    st.sampled_from(["", SERVER_2022, "10.0.17763.1", "odd"]),
)


@given(_PLATFORMS)
def test_every_platform_matches_itself(platform: Platform) -> None:
    assert platform.matches(platform)
    assert platform.distance(platform) == 0


@given(_PLATFORMS, _PLATFORMS)
def test_being_one_platform_holds_both_ways(one: Platform, other: Platform) -> None:
    assert one.matches(other) == other.matches(one)
    forth, back = one.distance(other), other.distance(one)
    if forth is not None and back is not None:
        assert one.matches(other), "two that run each other's images are one platform"
