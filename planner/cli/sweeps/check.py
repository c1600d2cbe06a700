"""Checks a sweep before anything runs: values that are invalid at every point, and errors that all points share."""

from __future__ import annotations

from planner.cli.sweeps.grid import Sweep, SweepPoint
from planner.cli.sweeps.point import PointAnswerer
from planner.errors import InputError
from planner.request.files import is_existing_path
from planner.request.options import FILE_KEYS, extract_option_key
from planner.request.values import format_option_value


def check_sweep(sweep: Sweep) -> None:
    """Parse points until each value has been part of a valid point.

    A value is an error where it is invalid together with every value of the other keys; an error of some points only
    is reported in their rows. Raises InputError that names the file, the key and the value.
    """
    answerer = PointAnswerer()
    errors: list[InputError] = []
    has_valid_value = False
    for key in sweep.keys:
        for value, points in _group_points_by_value(sweep, key).items():
            error = _find_shared_error(answerer, sweep, key, points)
            if error is not None and _concerns_key(error, key, points[0]):
                error = _find_shared_error(answerer, sweep, key, _select_covering_points(sweep, key, value))
            if error is None:
                has_valid_value = True
            elif extract_option_key(error.key) == key:
                raise error.relocate(sweep.origin, sweep.key_locations[key]) from None
            elif _concerns_key(error, key, points[0]):
                raise error
            else:
                errors.append(error)
    if (
        not has_valid_value
        and len({str(item) for item in errors}) == 1
        and all(_find_point_error(answerer, sweep, p) for p in sweep.points)
    ):
        raise errors[0].relocate(errors[0].origin or sweep.origin)


def _group_points_by_value(sweep: Sweep, key: str) -> dict[str, list[SweepPoint]]:
    """The points with each value of a key, one for each model and cluster."""
    points_by_value: dict[str, dict[tuple[str, str], SweepPoint]] = {}
    for point in sweep.points:
        if key in point:
            pair = (format_option_value(point["model"]), format_option_value(point["cluster"]))
            points_by_value.setdefault(format_option_value(point[key]), {}).setdefault(pair, point)
    return {value: list(points.values()) for value, points in points_by_value.items()}


def _select_covering_points(sweep: Sweep, key: str, value: str) -> list[SweepPoint]:
    """Points with a value of a key that together have each value of every other key that occurs with it."""
    seen: set[tuple[str, str]] = set()
    selected = []
    for point in sweep.points:
        if key in point and format_option_value(point[key]) == value:
            pairs = {(name, format_option_value(entry)) for name, entry in point.items()}
            if not pairs <= seen:
                seen |= pairs
                selected.append(point)
    return selected


def _find_shared_error(
    answerer: PointAnswerer, sweep: Sweep, key: str, points: list[SweepPoint]
) -> InputError | None:
    """None where a point is valid; else the first error of this key, or the first error of any key."""
    errors: list[InputError] = []
    for point in points:
        error = _find_point_error(answerer, sweep, point)
        if error is None:
            return None
        errors.append(error)
    return next((candidate for candidate in errors if _concerns_key(candidate, key, points[0])), errors[0])


def _find_point_error(answerer: PointAnswerer, sweep: Sweep, point: SweepPoint) -> InputError | None:
    try:
        answerer.check_point(point, sweep.origin)
    except InputError as error:
        return error
    return None


def _concerns_key(error: InputError, key: str, point: SweepPoint) -> bool:
    """Whether an error names this key, or the file that its value names."""
    if key in FILE_KEYS and error.origin and error.origin.startswith(format_option_value(point[key])):
        return is_existing_path(format_option_value(point[key]))
    return extract_option_key(error.key) == key
