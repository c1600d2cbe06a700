"""The readers under test: what damages a file for each, and what reads it as the commands do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import later, options, samples
from tests.fuzz.makers import Maker, of_lines, of_trees, of_words

Read = Callable[[Path], object]


@dataclass(frozen=True)
class Reader:
    """How an input is made, and what reads it: raises PlannerError for bad input, and nothing else.

    `slow`: how many inputs of others one of this reader's takes the time of.
    """

    make: Maker
    read: Read
    slow: int = 1


def _model(path: Path) -> None:
    from planner.cli.inputs import read_model

    read_model(str(path), None)


def _cluster(path: Path) -> None:
    """As `plan` reads it: pools first, then a cluster of one kind."""
    from planner.cli.inputs import read_cluster
    from planner.cli.pools import read_pools

    if read_pools(str(path)) is None:
        read_cluster(str(path))


def _import(path: Path) -> None:
    """As `planner cluster import` does it; the file that comes of it is read again."""
    from planner.cli.files import read_any
    from planner.cluster.cluster import resolve_cluster
    from planner.cluster.importers.complete import complete
    from planner.cluster.importers.found import HostPatterns
    from planner.cluster.importers.kinds import Given
    from planner.cluster.importers.merge import merge
    from planner.cluster.importers.recognise import read
    from planner.cluster.importers.toml import write_toml
    from planner.cluster.spec import parse_cluster
    from planner.errors import InputError

    found = read(read_any(path, "a description"), str(path), path.stem, HostPatterns())[1]
    given = Given("test", node="dgx-h100", link_bytes_per_s=5e10, node_bytes_per_s=3e10)
    draft, notes = complete(merge([(str(path), found)]), given, "Imported")
    try:
        spec = parse_cluster(write_toml(draft, [path.name], notes), "toml", "made.toml")
    except InputError as error:
        raise AssertionError(f"an import made a file that is refused: {error}") from None
    if len(spec.hosts) < 30:
        resolve_cluster(spec, "made.toml")


def _space(path: Path) -> None:
    from planner.cli.openings import OpenSettings
    from planner.cli.split import Split, read_pins

    read_pins(Split(), OpenSettings(), path)


def _table(path: Path) -> None:
    """Rows of measured runs, each bound to its question."""
    from planner.cli.files import read_text
    from planner.validation.binding import bind
    from planner.validation.runs import RowError, parse_runs

    for run in parse_runs(read_text(path, (".csv",), "a table"), str(path))[0]:
        try:
            bind(run)
        except RowError:
            continue


def _texts(read: Callable[[str], object]) -> Read:
    """A reader of a text of the command line."""
    return lambda path: read(path.read_bytes().decode("utf-8", "surrogateescape"))


def _all() -> Iterator[tuple[str, Reader]]:
    yield "model", Reader(of_trees(samples.models, "model", ["toml"]), _model)
    yield "network", Reader(of_trees(samples.networks, "network", ["toml"]), _model, slow=3)
    yield "config", Reader(of_trees(samples.configs, "config", ["json"], "json"), _model)
    yield "cluster", Reader(of_trees(samples.clusters, "cluster", ["toml"]), _cluster, slow=2)
    yield "cluster-yaml", Reader(of_trees(samples.clusters, "cluster", ["yaml", "json"]), _cluster, slow=6)
    from planner.cluster.importers.recognise import READERS as IMPORTERS

    for name in ("auto", *IMPORTERS):
        maker = of_lines(lambda name=name: samples.described_as(name), f"{name}.txt")  # type: ignore[misc]
        yield f"import-{name}", Reader(maker, _import, slow=2)
    yield "space", Reader(of_trees(lambda: [samples.SPACE], "space", ["toml"]), _space)
    yield "runs", Reader(of_lines(samples.tables, "runs.csv"), _table, slow=4)
    yield "plan-document", Reader(of_trees(samples.plans, "plan", ["json"], "json"), later.plan_document, slow=2)
    for name, text in options.TEXTS_READ.items():
        yield f"text-{name}", Reader(of_words(text.samples, text.signs), _texts(text.read))
    for name, maker, read in later.readers():
        yield name, Reader(maker, read, slow=3)


READERS: dict[str, Reader] = dict(_all())
