"""Whatever stands in a file, an import ends with a cluster file that is valid, or with a message."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.cluster.importers.cluster_file import render_cluster_toml
from planner.cluster.importers.complete_draft import complete_cluster_draft
from planner.cluster.importers.detect_format import DESCRIPTION_FORMATS, read_description
from planner.cluster.importers.imported_cluster import HostPatterns, merge_descriptions
from planner.cluster.importers.node_types import ImportDefaults
from planner.cluster.importers.xmltree import parse_xml
from planner.cluster.model.spec import parse_cluster_spec
from planner.errors import InputError

FIXTURES = Path(__file__).parents[1] / "fixtures" / "clusters"
SAMPLES = {
    path.name: path.read_text("utf-8", "replace")[:6000]
    for path in sorted(FIXTURES.iterdir())
    if path.name != "README.md"
}
GIVEN = ImportDefaults("test", node="dgx-h100", nic_link_bytes_per_s=5e10, node_bytes_per_s=3e10)
MANY = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
SCRAPS = [
    "\0",
    "\x1b[31m",
    "\udcff",
    "é",
    " ",
    "\t",
    "\r",
    "\n\n",
    '"',
    "'",
    "[",
    "]",
    "[1-",
    "{",
    "}",
    "<",
    ">",
    "&x;",
    ",",
    ":",
]
SCRAPS += [
    "=",
    "#",
    "//",
    "99999999999999999999",
    "-1",
    "0",
    "1e308",
    "NaN",
    "(null)",
    "NV999",
    "4xZDR",
    "gpu:",
    "slots=0",
]


def try_import(text: str, name: str, given: ImportDefaults) -> None:
    """An import as the command does it; the file that comes of it is read again."""
    try:
        description = read_description(text, "sample", name, HostPatterns())[1]
        draft, notes = complete_cluster_draft(merge_descriptions([("sample", description)]), given, "Test")
    except InputError as error:
        assert str(error)
        assert str(error).replace("\n", "").isprintable()
        return
    rendered = render_cluster_toml(draft, ["sample"], notes)
    parse_cluster_spec(rendered, "toml", "test.toml")


@st.composite
def draw_damaged_sample(draw: st.DrawFn) -> tuple[str, str]:
    """A sample with some places cut out, doubled, or with something put in."""
    name = draw(st.sampled_from(sorted(SAMPLES)))
    text = SAMPLES[name]
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, max(len(text) - 1, 0)))
        length = draw(st.integers(0, 60))
        put = draw(st.sampled_from([*SCRAPS, "", text[start : start + length] * 2]))
        text = text[:start] + put + text[start + length :]
    return name, text


@MANY
@given(draw_damaged_sample())
def test_a_damaged_sample_is_imported_or_reported(sample: tuple[str, str]) -> None:
    try_import(sample[1], "auto", GIVEN)


@MANY
@given(st.sampled_from(sorted(SAMPLES)), st.sampled_from(sorted(DESCRIPTION_FORMATS)))
def test_a_sample_under_a_wrong_format_is_imported_or_reported(name: str, format_name: str) -> None:
    try_import(SAMPLES[name], format_name, GIVEN)


@MANY
@given(st.text(max_size=400) | st.binary(max_size=400).map(lambda raw: raw.decode("utf-8", "replace")))
def test_any_text_is_imported_or_reported(text: str) -> None:
    for format_name in DESCRIPTION_FORMATS:
        try_import(text, format_name, ImportDefaults("test"))


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@MANY
@given(
    st.lists(
        st.tuples(NAMES, NAMES, st.sampled_from(["4xNDR", "2xHDR", "100G", "200000", ""])), min_size=1, max_size=12
    )
)
def test_any_names_of_a_graph_become_names_of_a_file(edges: list[tuple[str, str, str]]) -> None:
    import json

    hosts = sorted({host for host, _, _ in edges})
    switches = sorted({switch for _, switch, _ in edges} - set(hosts))
    vertices = [{"id": name, "kind": "host"} for name in hosts] + [
        {"id": name, "kind": "switch"} for name in switches
    ]
    links = [{"source": host, "target": switch, "speed": speed} for host, switch, speed in edges]
    try_import(json.dumps({"nodes": vertices, "links": links}), "graph", GIVEN)


ENTITIES = "".join(f'<!ENTITY e{n} "&e{n - 1};&e{n - 1};">' for n in range(1, 40))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'<!DOCTYPE s [<!ENTITY e0 "x">{ENTITIES}]><system>&e39;</system>', "document type"),
        ('<!DOCTYPE s SYSTEM "file:///etc/passwd"><graphml/>', "document type"),
        ("<system>" * 100_000, "too deeply"),
        ("<system", "not valid XML"),
        ("<graphs/>", "a graph of NCCL's channels"),
        ('{"metadata":' + "[" * 200_000, "too deeply"),
        ("GPU0 GPU1\nGPU0 X\n", "invalid row"),
        ("SwitchName=a Nodes=n[1-99999999]", "too many"),
        ("SwitchName=a Switches=b\nSwitchName=b Switches=c\nSwitchName=c Switches=a\nSwitchName=a Nodes=n", "circle"),
        ('Switch 4 "S-1" # "a"\n[1] broken', "line 2"),
        ("source,source_port,target,speed\na,mlx5_0,b,fast\n", "line 2"),
        ("source,source_port,target,speed\na,mlx5_0,b,1\n", "out of range"),
        ("a b c d", "unknown format"),
        ("\0\0\0", "empty"),
    ],
)
def test_unreadable_descriptions_are_reported(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        description = read_description(text, "sample", "auto", HostPatterns())[1]
        complete_cluster_draft(description, GIVEN, "Test")


def test_xml_without_entities_is_read() -> None:
    root = parse_xml('<?xml version="1.0" encoding="utf-8"?><a x="1"><b>t&amp;u</b></a>')
    assert (root.name, root.attributes, root.children[0].text) == ("a", {"x": "1"}, "t&u")
