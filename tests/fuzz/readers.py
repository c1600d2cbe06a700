"""The readers under test: how the inputs of each are made, and the functions that read them as the commands do."""

from __future__ import annotations

import gc
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cli.run import call
from tests.fuzz import options, samples
from tests.fuzz.makers import Maker, make_bytes, make_lines, make_trees, make_words

Read = Callable[[Path], object]


@dataclass(frozen=True)
class Reader:
    """How an input is made, and the function that reads it: it may only raise PlannerError, for bad input.

    `slow`: how many inputs of other readers take as long as an input of this reader.
    """

    make: Maker
    read: Read
    slow: int = 1


def _model(path: Path) -> None:
    from planner.request.inputs import read_model

    read_model(str(path), None)


def _cluster(path: Path) -> None:
    """As `plan` reads it: pools first, then a single cluster."""
    from planner.request.inputs import read_cluster, read_pools

    if read_pools(str(path)) is None:
        read_cluster(str(path))


def _import(path: Path) -> None:
    """As `planner cluster import` does it; the resulting file is read, too."""
    from planner.cluster.build.resolve import resolve_cluster
    from planner.cluster.importers.cluster_file import render_cluster_toml
    from planner.cluster.importers.complete_draft import complete_cluster_draft
    from planner.cluster.importers.detect_format import read_description
    from planner.cluster.importers.imported_cluster import HostPatterns, merge_descriptions
    from planner.cluster.importers.node_types import ImportDefaults
    from planner.cluster.model.spec import parse_cluster_spec
    from planner.errors import InputError
    from planner.request.files import read_foreign_text

    description = read_description(read_foreign_text(path, "a description"), str(path), path.stem, HostPatterns())[1]
    defaults = ImportDefaults("test", node="dgx-h100", nic_link_bytes_per_s=5e10, node_bytes_per_s=3e10)
    draft, notes = complete_cluster_draft(merge_descriptions([(str(path), description)]), defaults, "Imported")
    try:
        spec = parse_cluster_spec(render_cluster_toml(draft, [path.name], notes), "toml", "made.toml")
    except InputError as error:
        raise AssertionError(f"an import made a file that is refused: {error}") from None
    if len(spec.hosts) < 30:
        resolve_cluster(spec, "made.toml")


def _space(path: Path) -> None:
    from planner.request.plan_request import build_plan_request

    build_plan_request({"model": "llama-3-8b", "cluster": "dgx-h100", "global_batch": 8, "space": str(path)})


def _table(path: Path) -> None:
    """Rows of measured runs, each bound to its scenario."""
    from planner.evidence.bind_run import bind_run
    from planner.evidence.runs import RowError, parse_runs
    from planner.request.files import read_text_file

    for run in parse_runs(read_text_file(path, (".csv",), "a table"), str(path))[0]:
        try:
            bind_run(run)
        except RowError:
            continue


def _plan_document(path: Path) -> None:
    from planner.cli.input.plan_file import read_plan_document

    read_plan_document(path, 1)


def _sweep(path: Path) -> None:
    from planner.cli.sweeps.grid import read_sweep

    read_sweep(path)


def _results(path: Path) -> None:
    from planner.cli.sweeps.results import read_results

    read_results(path)


def _check(path: Path) -> None:
    from planner.cli.input.plan_list import read_plan_list

    read_plan_list(path)


def _requirement(text: str) -> None:
    from planner.studies.conditions.parse import parse_condition

    parse_condition(text)


def _texts(read: Callable[[str], object]) -> Read:
    """A reader of a text of the command line."""
    return lambda path: read(path.read_bytes().decode("utf-8", "surrogateescape"))


def _command(*before: str, after: Sequence[str] = ()) -> Read:
    """A whole command on the file."""

    def read(path: Path) -> None:
        from planner.errors import InputError

        done = call("planner", *before, str(path), *after)
        gc.enable()  # a process that runs a single command leaves it off
        assert done.returncode in (0, 2, 3, 4), done.stderr
        assert done.stdout.replace("\n", "").isprintable(), "stdout holds a control character"
        if done.returncode:
            raise InputError(done.stderr)

    return read


def _diff(path: Path) -> None:
    """A document compared with itself, and with a plan's."""
    for other in (str(path), str(samples.FIXTURES / "plan.json")):
        _command("diff", other)(path)


def _export(path: Path) -> None:
    """A document as files: for a trainer and a launcher chosen by its checksum."""
    from planner.export.launchers import LAUNCHERS
    from planner.export.trainers import TRAINERS

    pairs = [(to, launcher) for to in TRAINERS for launcher in LAUNCHERS]
    to, launcher = pairs[zlib.crc32(path.read_bytes()) % len(pairs)]
    _command("export", after=("--to", to, "--launcher", launcher))(path)


def _trees(make: Callable[[], list[str]], name: str, *formats: str) -> Maker:
    """Damaged trees of samples that are JSON where the formats are."""
    return make_trees(make, name, formats, "json" if formats == ("json",) else "toml")


def _files() -> Iterator[tuple[str, Reader]]:
    yield "model", Reader(_trees(samples.read_models, "model", "toml"), _model)
    yield "network", Reader(_trees(samples.read_networks, "network", "toml"), _model, slow=3)
    yield "config", Reader(_trees(samples.read_configs, "config", "json"), _model)
    yield "cluster", Reader(_trees(samples.read_clusters, "cluster", "toml"), _cluster, slow=2)
    yield "cluster-yaml", Reader(_trees(samples.read_clusters, "cluster", "yaml", "json"), _cluster, slow=3)
    from planner.cluster.importers.detect_format import DESCRIPTION_FORMATS as IMPORTERS

    for name in ("auto", *IMPORTERS):
        maker = make_lines(lambda name=name: samples.read_descriptions_of(name), f"{name}.txt")  # type: ignore[misc]
        yield f"import-{name}", Reader(maker, _import, slow=3)
    yield "space", Reader(_trees(lambda: [samples.SPACE], "space", "toml"), _space)
    yield "runs", Reader(make_lines(samples.read_tables, "runs.csv"), _table, slow=4)
    yield "sweep", Reader(_trees(lambda: [samples.SWEEP], "sweep", "toml"), _sweep)
    yield "check", Reader(_trees(lambda: [samples.CHECK], "plans", "toml"), _check)
    yield "results", Reader(make_lines(lambda: [samples.RESULTS], "results.csv"), _results)
    yield "results-jsonl", Reader(make_lines(samples.read_results, "results.jsonl"), _results)
    yield "results-parquet", Reader(make_bytes(samples.read_parquet, "results.parquet"), _results)
    yield "plan-document", Reader(_trees(samples.read_plans, "plan", "json"), _plan_document, slow=2)


def _words() -> Iterator[tuple[str, Reader]]:
    for name, text in options.TEXTS_READ.items():
        yield f"text-{name}", Reader(make_words(text.samples, text.signs), _texts(text.read))
    maker = make_words(samples.REQUIREMENTS, samples.REQUIREMENT_SIGNS)
    yield "text-requirement", Reader(maker, _texts(_requirement))


def _commands() -> Iterator[tuple[str, Reader]]:
    """Whole commands: the input goes through the search and the reports, too."""
    model = ("--cluster", "dgx-a100", "--nodes", "1", "--global-batch", "64", "--tp", "1,2", "--micro-batch", "1,2")
    cluster = ("--global-batch", "64", "--tp", "1,2", "--micro-batch", "1,2", "--pp", "1,2", "--zero", "1")
    axes = ("--x", "nodes", "--y", "mfu", "--by", "model")
    clusters, lines = (
        _trees(samples.read_clusters, "cluster", "toml"),
        make_lines(lambda: [samples.RESULTS], "results.csv"),
    )
    for name, maker, read in (
        ("plan-model", _trees(samples.read_models, "model", "toml"), _command("plan", after=model)),
        ("plan-network", _trees(samples.read_networks, "network", "toml"), _command("plan", after=model)),
        ("plan-config", _trees(samples.read_configs, "config", "json"), _command("plan", after=model)),
        ("plan-cluster", clusters, _command("plan", "bert-base", *cluster, "--cluster")),
        ("topology", clusters, _command("topology")),
        ("validate", make_lines(samples.read_tables, "runs.csv"), _command("validate", "--runs")),
        ("explain", _trees(samples.compute_plans, "plan", "json"), _command("explain")),
        ("export", _trees(samples.read_plans, "plan", "json"), _export),
        ("diff", _trees(samples.read_documents, "plan", "json"), _diff),
        ("plot", lines, _command("plot", after=axes)),
        ("plot-jsonl", make_lines(samples.read_results, "results.jsonl"), _command("plot", after=axes)),
        (
            "import",
            make_lines(samples.read_descriptions, "a.txt"),
            _command("cluster", "import", "--node", "dgx-h100"),
        ),
    ):
        yield f"run-{name}", Reader(maker, read, slow=25)


READERS: dict[str, Reader] = dict([*_files(), *_words(), *_commands()])
