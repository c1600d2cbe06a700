"""A user's list of operators: sizes, saved tensors, and messages about errors."""

from dataclasses import replace

import pytest

from planner.errors import InputError
from planner.workload.operator_list.operators import OPERATOR_TYPES
from planner.workload.operators import (
    AttentionCore,
    Convolution,
    Layer,
    Linear,
    Pointwise,
    Workload,
)
from planner.workload.presets import parse_model_file
from planner.workload.transformer import build_workload

GOOD = """
name = "mine"
sample = "image"
input = [3, 32, 32]

[stem]
operators = [
  { op = "conv2d", name = "a", out = 8, kernel = 3 },
  { op = "max_pool", kernel = 2 },
]

[[layers]]
repeat = 2
operators = [
  { op = "conv2d", out = 8, kernel = 3, batch_norm = true, relu = true },
  { op = "add", with = ["input"] },
]

[head]
operators = [{ op = "global_pool" }, { op = "linear", out = 10 }, { op = "loss" }]
"""


def build_network(text: str) -> Workload:
    return build_workload(parse_model_file(text, "toml", "mine.toml"))


def build_layer(operators: str, input_shape: str = "[64, 100]") -> Layer:
    """The layer of a list of these operators."""
    text = f'name = "x"\ninput = {input_shape}\n[[layers]]\noperators = [{operators}]'
    return build_workload(parse_model_file(text, "toml", "x.toml")).layer_runs[0].layer


def test_parameters_are_those_of_its_operators() -> None:
    assert build_network(GOOD).parameters == 3 * 9 * 8 + 2 * (8 * 9 * 8 + 2 * 8) + 8 * 10 + 10


def test_repeated_layers_are_counted_and_sizes_are_of_a_sample() -> None:
    workload = build_network(GOOD)
    assert (workload.layer_count, workload.seq_length, workload.sample_name) == (2, 1, "image")
    assert workload.layer_runs[0].layer.input_values == 8 * 16 * 16


def test_a_tensor_is_saved_once() -> None:
    ops = build_layer(
        '{ op = "linear", name = "a", out = 64 }, { op = "linear", from = "input", out = 64 }, '
        '{ op = "add", with = ["a"] }'
    ).operators
    assert [op.saves_input for op in ops if isinstance(op, Linear)] == [True, False]


def test_the_saved_input_of_a_matrix_multiply_can_be_recomputed() -> None:
    norm_bytes = next(
        op.listed_bytes
        for op in build_network(GOOD).embedding.operators
        + build_layer(
            '{ op = "linear", out = 64 }, { op = "batch_norm", relu = true }, { op = "linear", out = 64 }'
        ).operators
        if isinstance(op, Pointwise) and op.listed_bytes is not None and op.listed_bytes.dropped
    )
    assert norm_bytes.dropped == 2 * 64 * 100
    assert norm_bytes.saved == 2 * 64 * 100, "its own input"


def test_attention_reads_queries_keys_and_values() -> None:
    ops = build_layer(
        '{ op = "linear", out = 96 }, { op = "attention", heads = 4, kv_heads = 2, head_dim = 12, causal = true }'
    ).operators
    core = next(op for op in ops if isinstance(op, AttentionCore))
    assert (core.heads, core.kv_heads, core.qk_dim, core.attended_rows, core.causal) == (4, 2, 12, 100, True)


@pytest.mark.parametrize(
    ("op", "input_shape", "expected"),
    [
        ('"conv2d", out = 5, kernel = 3', "[3, 9, 7]", (5, 9, 7)),
        ('"conv2d", out = 5, kernel = 3, stride = 2', "[3, 9, 7]", (5, 5, 4)),
        ('"conv2d", out = 5, kernel = [1, 3], padding = 0', "[3, 9, 7]", (5, 9, 5)),
        ('"conv2d", out = 5, kernel = 3, dilation = 2, padding = 0', "[3, 9, 7]", (5, 5, 3)),
        ('"conv2d", out = 5, kernel = 7, stride = 2, padding = 3', "[3, 224, 224]", (5, 112, 112)),
        ('"conv1d", out = 5, kernel = 2, padding = "causal"', "[3, 16]", (5, 16, 1)),
        ('"conv1d", out = 5, kernel = 4, stride = 4, padding = 0', "[3, 16]", (5, 4, 1)),
        ('"max_pool", kernel = 3, stride = 2', "[3, 9, 7]", (3, 4, 3)),
        ('"avg_pool", kernel = 2', "[3, 9, 7]", (3, 4, 3)),
        ('"global_pool"', "[3, 9, 7]", (3, 1, 1)),
        ('"activation", gated = true', "[4, 9, 7]", (2, 9, 7)),
        ('"embedding", vocab = 100, out = 6', "[1, 16]", (6, 16, 1)),
        ('"take", out = 2', "[3, 16]", (2, 16, 1)),
        ('"concat", with = ["input"]', "[3, 16]", (6, 16, 1)),
    ],
)
def test_each_operator_has_its_output_size(op: str, input_shape: str, expected: tuple[int, int, int]) -> None:
    first = '{ op = "pointwise" }, ' if "concat" in op else ""
    text = (
        f'name = "x"\ninput = {input_shape}\n[[layers]]\noperators = [{first}{{ op = {op} }}]\n[[layers]]\n'
        'operators = [{ op = "linear", out = 1, bias = false }]'
    )
    last = build_workload(parse_model_file(text, "toml", "x.toml")).layer_runs[1].layer
    assert (last.parameters, last.input_values) == (expected[0], expected[0] * expected[1] * expected[2])


def test_dilation_changes_no_size_and_no_work() -> None:
    plain, wide = (
        build_layer(f'{{ op = "conv1d", name = "c", out = 8, kernel = 2, padding = "causal", dilation = {d} }}')
        for d in (1, 16)
    )
    assert plain == wide


def test_a_window_slides_over_both_dimensions() -> None:
    (conv,) = build_layer('{ op = "conv2d", out = 8, kernel = 3, stride = 2 }', "[4, 10, 10]").operators
    assert isinstance(conv, Convolution)
    assert (conv.kernel_values, conv.output_positions, conv.input_values, conv.weights) == (9, 25, 400, 4 * 9 * 8)
    assert not conv.input_gradient, "it reads the data"
    assert replace(conv, groups=4).weights == 9 * 8


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ('"conv2d", name', '"conv3d", name', ["stem.operators[0].op", "conv3d", "did you mean conv2d?"]),
        (
            "out = 8, kernel = 3 }",
            "ot = 8, kernel = 3 }",
            ["stem.operators[0].ot", "unknown key", "did you mean out?"],
        ),
        ('with = ["input"]', 'with = ["inptu"]', ["layers[0].operators[1].with", "inptu", "did you mean input?"]),
        ('with = ["input"]', "with = []", ["layers[0].operators[1].with", "joins nothing"]),
        ("kernel = 2 ", "kernel = 64 ", ["stem.operators[1].kernel", "64", "at most 32"]),
        ("kernel = 2 ", "kernel = 0 ", ["stem.operators[1].kernel", "value:    0", "from 1 to 65,536"]),
        ("kernel = 2 ", 'kernel = "x" ', ["stem.operators[1].kernel", '"x"', "a whole number or a list"]),
        ("out = 8, kernel = 3, b", "out = 9, kernel = 3, b", ["with", "9 x 16 x 16, 8 x 16 x 16"]),
        ("repeat = 2", "repeat = 99999", ["layers[0].repeat", "99999", "2,048"]),
        ('  { op = "add", with = ["input"] },', '  { op = "global_pool" },', ["layers[0].repeat", "8 x 16 x 16"]),
        ("[3, 32, 32]", "[3]", ["input", "[3]", "[channels, height, width]"]),
        ('"image"', '"Image\\u0007"', ["sample", "control character"]),
        ("input = [3", "inptu = [3", ["inptu", "did you mean input?"]),
        ("out = 8, kernel = 3, b", "out = 8, groups = 3, kernel = 3, b", ["groups", "a divisor of 8 channels"]),
        ('"conv2d", out = 8', '"conv1d", out = 8', ["op", "conv1d over 8 x 16 x 16", "conv2d"]),
        (
            "input = [3, 32, 32]",
            "input = [3, 32]",
            ["stem.operators[0].op", "has a window in two", "conv1d, or input ="],
        ),
        ("[[layers]]\nrepeat = 2", "[more]", ["more", "unknown key"]),
        ('op = "global_pool"', "kernel = 3", ["head.operators[0].op", "missing key", "conv2d"]),
        ('"global_pool"', '"attention", heads = 2, head_dim = 4', ["heads", "8 channels", "24 channels before it"]),
        ('"max_pool"', '"max_pool", name = "a"', ["stem.operators[1].name", "is used twice"]),
        ("[[layers]]", "[[layers]", ["not valid TOML"]),
    ],
)
def test_an_error_is_reported_with_its_key(old: str, new: str, parts: list[str]) -> None:
    assert old in GOOD
    with pytest.raises(InputError) as refused:
        build_network(GOOD.replace(old, new, 1))
    for part in ["mine.toml", *parts]:
        assert part in str(refused.value)


def test_an_unknown_operator_lists_every_known_operator() -> None:
    with pytest.raises(InputError) as refused:
        build_network(GOOD.replace('"max_pool"', '"pool"'))
    assert all(name in str(refused.value) for name in OPERATOR_TYPES)


def test_a_list_without_layers_is_reported_with_the_page_that_explains_it() -> None:
    text = GOOD[: GOOD.index("[[layers]]")]
    with pytest.raises(InputError) as refused:
        build_network(text)
    assert "mine.toml: layers: is missing" in str(refused.value)
    assert "their operators, as in docs/how-to/models.md, Your own list of operators" in str(refused.value)
    with pytest.raises(InputError) as refused:
        build_network('name = "mine"\n')
    assert "hidden_size: is missing" in str(refused.value)
    assert "a list of operators has [[layers]] and input" in str(refused.value)
    with pytest.raises(InputError) as refused:
        build_network(text.replace("[stem]", "layers = []\n[stem]"))
    assert "layers: too short\n  expected: at least 1 item" in str(refused.value)
