"""Families of models other than language models have the published parameters and multiply-adds."""

import csv
from pathlib import Path

import pytest

from planner.cost.flops import compute_model_flops
from planner.errors import InputError
from planner.workload.presets import parse_model_file, read_model_preset, read_transformer_preset
from planner.workload.transformer import build_workload

FIXTURES = Path(__file__).parents[1] / "fixtures"
ROWS = list(csv.DictReader((FIXTURES / "families.csv").read_text().splitlines()))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_parameters_and_multiply_adds_equal_the_published_figures(row: dict[str, str]) -> None:
    workload = build_workload(read_model_preset(row["name"]))
    assert workload.parameters == int(row["parameters"])
    # of a step: forward and twice that backward, two FLOPs a multiply-add
    gmacs = compute_model_flops(workload, 1, "full") / 6e9
    assert gmacs == pytest.approx(float(row["gmacs"]), rel=0.01)


def test_inception_without_its_auxiliary_classifier() -> None:
    # 23,834,568 of torchvision's 27,161,264 (aux_logits=False): two convolutions with their norms and a classifier
    auxiliary = 768 * 128 + 2 * 128 + 25 * 128 * 768 + 2 * 768 + 768 * 1000 + 1000
    assert build_workload(read_model_preset("inception-v3")).parameters - auxiliary == 23_834_568


def test_wavenet_has_the_parameters_of_its_published_figure() -> None:
    # arXiv 1609.03499, figure 4: gated convolutions of two steps, 1 x 1 for the residual and the skip connection
    residual, skip, values = 512, 256, 256
    layer = 2 * residual * 2 * residual + residual * residual + residual * skip
    head = skip * 256 + 256 + 256 * values + values
    workload = build_workload(read_model_preset("wavenet"))
    assert workload.layer_count == 30
    assert workload.parameters == 2 * values * residual + 30 * layer + head


def test_blocks_are_layers() -> None:
    counts = {
        name: build_workload(read_model_preset(name)).layer_count
        for name in ("resnet-50", "resnet-152", "inception-v3")
    }
    assert counts == {"resnet-50": 3 + 4 + 6 + 3, "resnet-152": 3 + 8 + 36 + 3, "inception-v3": 11}


def test_a_convolutional_network_counts_as_a_single_head_and_token() -> None:
    workload = build_workload(read_model_preset("resnet-50"))
    assert (workload.sample_name, workload.heads, workload.ffn_size, workload.seq_length) == ("image", 1, 1, 1)
    # the most that a block hands to the next: 256 channels of 56 x 56
    assert workload.hidden_size == 256 * 56 * 56


def test_a_vision_transformer_splits_like_any_other() -> None:
    workload = build_workload(read_model_preset("vit-b-16"))
    assert (workload.sample_name, workload.heads, workload.seq_length) == ("image", 12, 14 * 14 + 1)


VIT = """
name = "vit"
architecture = "encoder"
hidden_size = 192
layers = 4
heads = 3
ffn_size = 768

[vision]
image_size = 224
patch_size = 16
classes = 10
"""


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("patch_size = 16", "patch_size = 15", ["vision.patch_size", "15", "a divisor of vision.image_size 224"]),
        ("layers = 4", "layers = 4\nvocab_size = 5", ["vocab_size", "no vocabulary"]),
        ("layers = 4", "layers = 4\nseq_length = 5", ["seq_length", "left out, or 197"]),
        ("classes = 10", "clases = 10", ["vision.clases", "unknown key", "did you mean classes?"]),
        (VIT[VIT.index("[vision]") :], "seq_length = 5", ["vocab_size", "missing key", "[vision]"]),
    ],
)
def test_a_wrong_image_size_is_reported(old: str, new: str, parts: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        parse_model_file(VIT.replace(old, new), "toml", "vit.toml")
    for part in ["vit.toml", *parts]:
        assert part in str(refused.value)


def test_a_list_of_operators_cannot_be_a_transformer_preset() -> None:
    with pytest.raises(InputError, match="not a transformer"):
        read_transformer_preset("resnet-50")
