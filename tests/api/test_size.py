"""Sizes as Kubernetes writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basetracker.api.size import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("7", 7), ("1Ki", 1024), ("512Mi", 512 << 20), ("2Gi", 2 << 30), ("1Ti", 1 << 40)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert format_size(size) == text


@given(st.integers(0, 10**15))
def test_what_is_written_is_read(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize("text", ["", "Gi", "1G", "1GB", "1.5Gi", "-1", " 1Gi", "1Gi ", "٣Gi", "1gi", "9" * 16])
def test_what_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size; write it like 512Mi or 2Gi"):
        parse_size(text)
