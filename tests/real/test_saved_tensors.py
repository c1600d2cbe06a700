"""Saved tensors are counted once, however many operators keep them."""

from typing import Any

import pytest

from tests.export.real.needs import import_package
from tests.real.saved_tensors import compute_layer_bytes, record_saved_tensors, use_gpu_kernels

pytestmark = pytest.mark.real


def build_fake(*shape: int) -> Any:
    return import_package("torch").empty(*shape, dtype=import_package("torch").bfloat16, requires_grad=True)


def test_views_and_readers_of_a_tensor_keep_it_once() -> None:
    torch = import_package("torch")
    with import_package("torch._subclasses.fake_tensor").FakeTensorMode():
        hidden, weight = build_fake(8, 16), build_fake(16, 4)
        with record_saved_tensors([weight]) as saved:
            _ = hidden @ weight + hidden.view(8, 16) @ weight
            _ = torch.sigmoid(hidden)
    assert saved.count_shapes() == {"torch.bfloat16 [8, 16]": 2}
    assert saved.total_bytes == 2 * 8 * 16 * 2


def test_the_norm_and_attention_of_a_gpu_keep_no_copies_in_32_bit() -> None:
    functional = import_package("torch.nn.functional")

    def run_norms(count: int) -> Any:
        hidden, weight = build_fake(8, 16), build_fake(16)
        with record_saved_tensors([weight]) as saved:
            for _ in range(count):
                hidden = functional.rms_norm(hidden, (16,), weight)
        return saved

    with import_package("torch._subclasses.fake_tensor").FakeTensorMode(), use_gpu_kernels():
        assert compute_layer_bytes(run_norms) == 2 * 8 * 16 + 4 * 8
        query, key = build_fake(1, 4, 32, 64), build_fake(1, 2, 32, 64)
        with record_saved_tensors() as saved:
            functional.scaled_dot_product_attention(query, key, key, is_causal=True, enable_gqa=True)
    assert saved.total_bytes == 2 * (2 * 4 * 32 * 64 + 2 * 32 * 64) + 4 * 4 * 32
