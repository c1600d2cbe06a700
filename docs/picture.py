"""Draw docs/plan.svg, the README's picture, from the real output of its command."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import msgspec
from rich.console import Console

from planner.documents.plan import PlanDocument
from planner.report.formats.registry import build_report
from planner.report.formats.terminal import print_report

COMMAND = ["llama-3-70b", "--cluster", "dgx-h100", "--nodes", "64", "--global-batch", "1024", "--tokens", "15T"]


def main() -> None:
    """Run the command, print its document into a recording console, save the picture."""
    program = Path(sys.executable).with_name("plan")
    done = subprocess.run([program, *COMMAND, "--format", "json"], capture_output=True, check=True)
    document = msgspec.json.decode(done.stdout, type=PlanDocument)
    console = Console(record=True, width=112, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print(f"[bold]$ plan {' '.join(COMMAND)}[/]", soft_wrap=True)
    print_report(build_report(document), console)
    console.save_svg(str(Path(__file__).with_name("plan.svg")), title="plan")


if __name__ == "__main__":
    main()
