"""Lists of names with ranges: what Slurm writes is read, and compressed names come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cluster.wired.hostlist import MAX_HOSTLIST_NAMES, compress_names, expand_hostlist
from planner.errors import InputError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", ["a"]),
        ("a,b , c", ["a", "b", "c"]),
        ("a[1-3,7]", ["a1", "a2", "a3", "a7"]),
        ("a[08-11]", ["a08", "a09", "a10", "a11"]),
        ("a[8-11]", ["a8", "a9", "a10", "a11"]),
        ("a[0-1]", ["a0", "a1"]),
        ("a[00-01]", ["a00", "a01"]),
        ("r[1-2]n[1-2],x[3].net", ["r1n1", "r1n2", "r2n1", "r2n2", "x3.net"]),
        ("a[099-101]", ["a099", "a100", "a101"]),
    ],
)
def test_a_list_is_expanded(text: str, names: list[str]) -> None:
    assert list(expand_hostlist(text)) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a[1-3", "not closed"),
        ("a1-3]", "pair"),
        ("a[[1]]", "pair"),
        ("a[]", "range"),
        ("a[3-1]", "backwards"),
        ("a[x-y]", "range"),
        ("a[1-9999999999999999999999]", "range"),
        ("a[0-99999999]", "too many"),
        ("a[0-999]b[0-999]c[0-999]", "too many"),
        ("[0-1]" * 60, "too many"),
        ("", "nothing"),
        (",,,", "nothing"),
    ],
)
def test_a_broken_list_is_reported(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        expand_hostlist(text)


def test_as_many_as_allowed_are_read() -> None:
    names = expand_hostlist(f"a[1-{MAX_HOSTLIST_NAMES}]")
    assert len(names) == MAX_HOSTLIST_NAMES
    with pytest.raises(InputError, match="too many"):
        expand_hostlist(f"b,a[1-{MAX_HOSTLIST_NAMES}]")


@pytest.mark.parametrize(
    ("names", "texts"),
    [
        (["a1", "a2", "a3"], ["a[1-3]"]),
        (["a10", "a9", "a8"], ["a[8-10]"]),
        (["a08", "a09", "a10"], ["a[08-10]"]),
        (["r1n1", "r1n2", "r2n1", "r2n2"], ["r[1-2]n[1-2]"]),
        (["leaf", "a7", "a3"], ["a[3,7]", "leaf"]),
        (["a2", "a10", "b"], ["a[2,10]", "b"]),
    ],
)
def test_names_are_compressed(names: list[str], texts: list[str]) -> None:
    assert list(compress_names(names)) == texts


@given(st.lists(st.from_regex(r"[a-z]{0,2}[0-9]{1,3}(-[0-9]{1,2})?[a-z]?", fullmatch=True), min_size=1, max_size=12))
def test_compressed_names_expand_to_the_same_names(names: list[str]) -> None:
    expanded = expand_hostlist(",".join(compress_names(names)))
    assert sorted(expanded) == sorted(set(names))


@given(st.text(alphabet="a01-,[] \0é", max_size=30))
def test_any_text_is_expanded_or_reported(text: str) -> None:
    try:
        assert len(expand_hostlist(text)) <= MAX_HOSTLIST_NAMES
    except InputError as error:
        assert "expected" in str(error)
