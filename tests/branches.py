"""`make coverage`: branches taken by the tests, against a minimum. coverage itself adds lines."""

from __future__ import annotations

import json
import sys
from pathlib import Path

MINIMUM_PERCENT = 95.0


def main(path: Path) -> int:
    """Print the share of a report of `coverage json`; the exit code is 1 where it is below the minimum."""
    totals = json.loads(path.read_text("utf-8"))["totals"]
    taken, total = totals["covered_branches"], totals["num_branches"]
    lines = 100 * totals["covered_lines"] / totals["num_statements"]
    share = 100 * taken / total
    print(f"branches {share:.2f} % ({taken:,} of {total:,}), {MINIMUM_PERCENT:g} % wanted; lines {lines:.2f} %")
    return int(share < MINIMUM_PERCENT)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
