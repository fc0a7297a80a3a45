"""What `*` stands for in the subject of a keyless identity."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from basetracker.adapters.gates.signature.identities import stands_for

from .sigstores import SHOP


@pytest.mark.parametrize(
    ("pattern", "subject", "fits"),
    [
        ("*@contoso.com", "build@contoso.com", True),
        ("*@contoso.com", "@contoso.com", False),
        ("*@contoso.com", "a@b@contoso.com", False),
        ("*@contoso.com", "build@contoso.com.evil.test", False),
        ("https://github.com/contoso/*", "https://github.com/contoso/shop", True),
        ("https://github.com/contoso/*", "https://github.com/contoso/", False),
        ("https://github.com/contoso/*", "https://github.com/contoso/shop/evil", False),
        (
            f"{SHOP}/.github/workflows/release.yml@refs/tags/v*",
            f"{SHOP}/.github/workflows/release.yml@refs/tags/v1.2",
            True,
        ),
        (
            f"{SHOP}/.github/workflows/release.yml@refs/tags/v*",
            f"{SHOP}/.github/workflows/release.yml@refs/tags/v",
            False,
        ),
        (
            f"{SHOP}/.github/workflows/release.yml@refs/tags/v*",
            f"{SHOP}/.github/workflows/release.yml@refs/tags/v1/x",
            False,
        ),
        (
            "https://github.com/contoso/*/.github/workflows/release.yml@refs/heads/main",
            "https://github.com/contoso/shop/.github/workflows/evil.yml@refs/heads/x/.github/workflows/release.yml@refs/heads/main",
            False,
        ),
        ("https://a.test/a*b*c", "https://a.test/aXbYc", True),
        ("https://a.test/a*b*c", "https://a.test/abc", False),
        ("https://a.test/a*b*c", "https://a.test/abXc", False),
        ("https://a.test/a*b*c", "https://a.test/axbbc", True),
        ("https://a.test/a*b*c", "https://a.test/axbc", False),
        ("https://a.test/a*a", "https://a.test/aa", False),
        ("https://a.test/a*a", "https://a.test/a", False),
    ],
)
def test_what_a_star_stands_for(pattern: str, subject: str, fits: bool) -> None:
    assert stands_for(pattern, subject) is fits


LETTERS = st.text("ab/@", max_size=12)


@given(st.text("ab*/@", max_size=8).filter(lambda text: "**" not in text), LETTERS)
@example("*a*", "aaa")
@settings(max_examples=500, deadline=None)
def test_a_pattern_stands_for_what_a_regular_expression_says(pattern: str, subject: str) -> None:
    expression = "[^/@]+".join(re.escape(part) for part in pattern.split("*"))
    assert stands_for(pattern, subject) is (re.fullmatch(expression, subject) is not None)


def test_a_pattern_never_takes_long() -> None:
    assert not stands_for("https://a.test/" + "*a" * 500 + "b", "https://a.test/" + "a" * 100_000)
