"""Quantities are read as the field writes them, and formatted in the same way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import InputError
from planner.units import (
    format_bytes,
    format_counted_noun,
    format_days,
    format_duration,
    format_parameter_count,
    format_seconds,
    format_si,
    parse_count,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("80GiB", "bytes", 80 * 2**30),
        ("80GB", "bytes", 80e9),
        ("400Gb/s", "bytes_per_s", 50e9),
        ("400Gbps", "bytes_per_s", 50e9),
        ("450 GB/s", "bytes_per_s", 450e9),
        ("2us", "s", 2e-6),
        ("30d", "s", 30 * 86400),
        ("10min", "duration", 600),
        ("50000h", "duration", 1.8e8),
        ("5y", "duration", 5 * 365.25 * 86400),
        ("989.4TFLOP/s", "flops", 989.4e12),
        ("10.2kW", "w", 10200),
        ("1.5T", "count", 1.5e12),
        ("70B", "count", 70e9),
        ("2MUSD", "usd", 2e6),
        ("90%", "ratio", 0.9),
        (312e12, "flops", 312e12),
        ("1_000", "count", 1000),
    ],
)
def test_quantities_are_read(text, dimension, value) -> None:
    assert parse_quantity(text, dimension) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    "text", ["", "GB", "-1GB", "1e400", "nan", "inf", "80 G B", "80Gi", "1" * 70, True, -1, 1e31, 10**400]
)
def test_an_invalid_quantity_is_reported(text) -> None:
    with pytest.raises(InputError, match="a size such as 80GiB"):
        parse_quantity(text, "bytes")


@pytest.mark.parametrize("text", ["1.5", "0", "-3", "2.5e-3"])
def test_a_count_is_whole_and_positive(text) -> None:
    with pytest.raises(InputError):
        parse_count(text)


def test_a_count_takes_its_suffix_in_either_case_and_has_limits() -> None:
    assert parse_count("15t") == 15 * 10**12
    assert parse_count("7b") == 7 * 10**9
    with pytest.raises(InputError, match="from 2 to 8, such as 4"):
        parse_count("9", minimum=2, maximum=8, example="4")


def test_a_unit_can_be_required() -> None:
    for text in (300, "300", 2.5):
        with pytest.raises(InputError, match="without a unit"):
            parse_quantity(text, "bytes_per_s", allow_bare=False)
    assert parse_quantity(0, "s", allow_bare=False) == 0
    assert parse_quantity(1.1, "ratio", allow_bare=False) == 1.1


@given(st.floats(1e-6, 1e12))
def test_a_formatted_quantity_can_be_parsed(value) -> None:
    assert parse_quantity(format_bytes(value * 1e6), "bytes") == pytest.approx(value * 1e6, rel=0.01)
    # half a unit of the last of three digits
    assert parse_quantity(format_seconds(value % 900 + 1e-3).replace(",", ""), "s") == pytest.approx(
        value % 900 + 1e-3, rel=0.006
    )


def test_formats_of_figures() -> None:
    assert format_seconds(11.0) == "11.0 s"
    assert format_seconds(0.0123) == "12.3 ms"
    assert format_seconds(0) == "0 s"
    assert [format_seconds(value) for value in (0.9999, 0.0009999, 0.9994)] == ["1.00 s", "1.00 ms", "999 ms"]
    assert format_si(15e12) == "15.0 T"
    assert format_parameter_count(70_553_706_496) == "70.6B"
    assert format_parameter_count(1.008e12) == "1.01T"
    assert format_bytes(80 * 2**30) == "80.00 GiB"


@given(st.floats(1e-3, 1e12))
def test_a_duration_has_a_fitting_unit(value: float) -> None:
    text = format_duration(value)
    assert parse_quantity(text.replace(",", ""), "duration") == pytest.approx(value, rel=0.006)


def test_durations_have_three_digits_and_a_fitting_unit() -> None:
    durations = [format_duration(value) for value in (0.59, 59.0, 212.0, 11135.0, 5 * 86400.0, 2.85e8)]
    assert durations == ["590 ms", "59.0 s", "3.53 min", "3.09 h", "5.00 d", "9.03 y"]


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (1, "1 day"),
        (30, "30 days"),
        (2.5, "2.5 days"),
        (36_500, "36,500 days"),
        (1 / 24, "1.00 h"),
        (0.01, "14.4 min"),
    ],
)
def test_days_are_formatted_as_durations(days: float, text: str) -> None:
    assert format_days(days) == text


def test_a_count_of_1_is_singular_and_large_counts_have_separators() -> None:
    assert [format_counted_noun(count, "node") for count in (0, 1, 2, 1024)] == [
        "0 nodes",
        "1 node",
        "2 nodes",
        "1,024 nodes",
    ]
    assert format_parameter_count(221_992) == "221,992"
