"""A sweep checked before anything runs: a value that no point can have, and a fault that all points share."""

from __future__ import annotations

from planner.cli.input.arguments import FILE_KEYS, MODEL_KEY, extract_option_key, format_option_value
from planner.cli.io.files import is_existing_path
from planner.cli.sweeps.grid import Point, Sweep
from planner.cli.sweeps.point import Asker
from planner.errors import InputError


def check_sweep(sweep: Sweep) -> None:
    """Read what the points ask, as far as it takes to find each value once where it can be read.

    A value is refused where it is refused beside every value of the other keys; what only some points refuse is told
    in their rows. Raises InputError that names the file, the key and the value.
    """
    asker = Asker()
    faults: list[InputError] = []
    sound = False
    for key in sweep.keys:
        for value, points in _by_value(sweep, key).items():
            fault = _shared_fault(asker, sweep, key, points)
            if fault is not None and _is_of(fault, key, points[0]):
                fault = _shared_fault(asker, sweep, key, _beside_all(sweep, key, value))
            if fault is None:
                sound = True
            elif extract_option_key(fault.key) == key:
                raise fault.relocate(sweep.origin, sweep.places[key]) from None
            elif _is_of(fault, key, points[0]):
                raise fault
            else:
                faults.append(fault)
    if not sound and len({str(one) for one in faults}) == 1 and all(_fault(asker, sweep, p) for p in sweep.points):
        raise faults[0].relocate(faults[0].origin or sweep.origin)


def _by_value(sweep: Sweep, key: str) -> dict[str, list[Point]]:
    """The points that have each value of a key, one for each model and cluster."""
    found: dict[str, dict[tuple[str, str], Point]] = {}
    for point in sweep.points:
        if key in point:
            pair = (format_option_value(point[MODEL_KEY]), format_option_value(point["cluster"]))
            found.setdefault(format_option_value(point[key]), {}).setdefault(pair, point)
    return {value: list(points.values()) for value, points in found.items()}


def _beside_all(sweep: Sweep, key: str, value: str) -> list[Point]:
    """Points with a value of a key, so many that each value of every other key that goes with it is among them."""
    seen: set[tuple[str, str]] = set()
    found = []
    for point in sweep.points:
        if key in point and format_option_value(point[key]) == value:
            told = {(name, format_option_value(entry)) for name, entry in point.items()}
            if not told <= seen:
                seen |= told
                found.append(point)
    return found


def _shared_fault(asker: Asker, sweep: Sweep, key: str, points: list[Point]) -> InputError | None:
    """None where a point has no fault; else the first that is told of this key, or the first at all."""
    faults: list[InputError] = []
    for point in points:
        fault = _fault(asker, sweep, point)
        if fault is None:
            return None
        faults.append(fault)
    return next((one for one in faults if _is_of(one, key, points[0])), faults[0])


def _fault(asker: Asker, sweep: Sweep, point: Point) -> InputError | None:
    try:
        asker.check(point, sweep.origin)
    except InputError as error:
        return error
    return None


def _is_of(fault: InputError, key: str, point: Point) -> bool:
    """Whether a fault is told of this key, or of the file that its value names."""
    if key in FILE_KEYS and fault.origin and fault.origin.startswith(format_option_value(point[key])):
        return is_existing_path(format_option_value(point[key]))
    return extract_option_key(fault.key) == key
