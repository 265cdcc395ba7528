"""The micro syntax: what people type, read into the units of the house."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentorch.model import units
from agentorch.schemas.times import LATEST_MS, parse_time_ms


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (units.parse_bytes, "24GB", 24 * 10**9),
        (units.parse_bytes, "24GiB", 24 * 2**30),
        (units.parse_bytes, "1.5 gb", 1_500_000_000),
        (units.parse_bytes, "512M", 512 * 10**6),
        (units.parse_bytes, 10**9, 10**9),
        (units.parse_bytes, 0, 0),
        (units.parse_bytes, "0", 0),
        (units.parse_duration_ms, "90m", 5_400_000),
        (units.parse_duration_ms, "1h30m", 5_400_000),
        (units.parse_duration_ms, "1.5h", 5_400_000),
        (units.parse_duration_ms, "250ms", 250),
        (units.parse_duration_ms, "2d", 172_800_000),
        (units.parse_duration_ms, "90", 90_000),
        (units.parse_duration_ms, 0.25, 250),
        (units.parse_cpu_milli, "4", 4_000),
        (units.parse_cpu_milli, "4+", 4_000),
        (units.parse_cpu_milli, 0.5, 500),
        (units.parse_gpu, 2, ("", 2)),
        (units.parse_gpu, "2", ("", 2)),
        (units.parse_gpu, "H100", ("H100", 1)),
        (units.parse_gpu, "H100:2", ("H100", 2)),
        (units.parse_gpu, "A100-80GB:4", ("A100-80GB", 4)),
        (units.parse_usd_micros, "$1.50", 1_500_000),
        (units.parse_usd_micros, "0.000001", 1),
        (units.parse_usd_micros, 2, 2_000_000),
    ],
)
def test_what_is_read(parse: Callable[[Any], Any], text: Any, value: Any) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (units.parse_bytes, 24),
        (units.parse_bytes, "24"),
        (units.parse_bytes, "24XB"),
        (units.parse_bytes, "-1GB"),
        (units.parse_bytes, "24GB..80GB"),
        (units.parse_duration_ms, "5y"),
        (units.parse_duration_ms, "m"),
        (units.parse_duration_ms, -1),
        (units.parse_duration_ms, float("nan")),
        (units.parse_duration_ms, True),
        (units.parse_cpu_milli, 0),
        (units.parse_cpu_milli, "0"),
        (units.parse_cpu_milli, "4-"),
        (units.parse_gpu, "H100:"),
        (units.parse_gpu, "H100:x"),
        (units.parse_gpu, 1.5),
        (units.parse_gpu, "٢"),
        (units.parse_usd_micros, "1,50"),
        (units.parse_usd_micros, float("inf")),
        (units.parse_usd_micros, [1]),
    ],
)
def test_what_is_refused_says_what_was_expected(parse: Callable[[Any], Any], text: Any) -> None:
    with pytest.raises(ValueError, match=r"expected|out of range"):
        parse(text)


@given(st.integers(min_value=0, max_value=9_999 * units.parse_duration_ms("1w")))
def test_a_duration_reads_back(ms: int) -> None:
    assert units.parse_duration_ms(units.format_duration_ms(ms)) == ms


#: Each grammar is published in OpenAPI: whatever it matches must be read, into a number that the ledger can hold.
GRAMMARS = {
    units.SIZE_PATTERN: lambda text: units.parse_bytes(text),
    units.DURATION_PATTERN: lambda text: units.parse_duration_ms(text),
    units.CORES_PATTERN: lambda text: units.parse_cpu_milli(text),
    units.USD_PATTERN: lambda text: units.parse_usd_micros(text),
    units.GPU_PATTERN: lambda text: units.parse_gpu(text)[1],
}


@given(st.sampled_from(list(GRAMMARS)), st.data())
def test_every_grammar_is_true(pattern: str, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True))
    try:
        value = GRAMMARS[pattern](text)
    except ValueError as error:
        assert "has no unit" in str(error)  # a bare number of bytes: the one thing that a pattern can't say
    else:
        assert 0 <= value < 2**63


@given(st.one_of(st.text(max_size=20), st.floats(), st.integers(), st.booleans(), st.none()))
def test_nothing_but_value_errors_comes_out(value: Any) -> None:
    parsers = (
        units.parse_bytes,
        units.parse_duration_ms,
        units.parse_cpu_milli,
        units.parse_gpu,
        units.parse_usd_micros,
    )
    for parse in (*parsers, lambda one: parse_time_ms(one, 0)):
        try:
            parse(value)
        except ValueError as error:
            assert str(error)


def test_times() -> None:
    now_ms = 1_000_000
    assert parse_time_ms("+2h", now_ms) == now_ms + 7_200_000
    assert parse_time_ms("1970-01-01T01:00:00+01:00", now_ms) == 0
    assert parse_time_ms("2031-05-01T12:00:00.123456789z", now_ms) % 1000 == 123
    assert parse_time_ms(1.5, now_ms) == 1_500
    assert parse_time_ms("0001-01-01T00:00:00Z", now_ms) == 0
    for wrong in ("2031-05-01", "soon", "+", "2031-13-01T00:00:00Z", -1, LATEST_MS, True, None):
        with pytest.raises(ValueError, match=r"expected|zone"):
            parse_time_ms(wrong, now_ms)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="zone"):
        parse_time_ms("2031-05-01T12:00:00", now_ms)


def test_sizes_for_people() -> None:
    assert [units.format_bytes(n) for n in (24 * 10**9, 1_500_000, 999, 0)] == ["24GB", "1.5MB", "999B", "0B"]
    assert (units.usd(1_500_000), units.usd_or_none(None), units.seconds(1_500)) == (1.5, None, 1.5)
    assert units.seconds_or_none(None) is None
