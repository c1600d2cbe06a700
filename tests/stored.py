"""Stored documents of the tests; `python -m tests.stored` makes them again, after a changed document or cost model.

Read the differences; then renew the golden files, which are made from them.
"""

from __future__ import annotations

from pathlib import Path

from tests.cli.run import call

FIXTURES = Path(__file__).parent / "fixtures"
ON_TWO_NODES = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "2", "-b", "64", "--framework", "megatron-classic")
CLUSTERS = ("--on", "dgx-h100:8", "--on", "tpu-v5p:16", "--on", "l4-pcie:4", "--on", "xeon-8480plus:4")
COMMANDS = {
    "plan": ("plan", *ON_TWO_NODES, "--tokens", "100B", "--grid", "fr", "--top", "2"),
    "answers/what-if": ("planner", "what-if", *ON_TWO_NODES, "--set", "fabric.bandwidth=2x"),
    "answers/size": ("planner", "size", "llama-3-8b", "-c", "dgx-h100", "--tokens", "1T", "--deadline", "30d"),
    "answers/compare": ("planner", "compare", "llama-3-8b", *CLUSTERS, "--tokens", "1T", "--deadline", "400d"),
    "answers/explain": ("planner", "explain", str(FIXTURES / "plan.json")),
    "answers/model": ("planner", "models", "show", "deepseek-v3"),
    "answers/topology": ("planner", "topology", "dgx-h100", "--nodes", "4"),
}
"""The command of each document that depends on the cost model or the network; `explain` reads the plan."""


def renew_documents() -> None:
    """Write the answer of every command to its file."""
    for name, arguments in COMMANDS.items():
        done = call(*arguments, "--format", "json")
        assert done.returncode == 0, done.stderr
        (FIXTURES / f"{name}.json").write_text(done.stdout, "utf-8")


if __name__ == "__main__":
    renew_documents()
