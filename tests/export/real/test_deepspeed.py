"""DeepSpeed's configuration, by DeepSpeed's own class."""

import json
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.export.plans import PLANS_BY_TRAINER, build_run, export_plan
from tests.export.real.needs import import_package
from tests.export.real.words import capture_arguments

pytestmark = pytest.mark.export


@pytest.mark.parametrize("name", PLANS_BY_TRAINER["deepspeed"])
def test_deepspeed_reads_its_configuration(name: str, tmp_path: Path) -> None:
    config = import_package("deepspeed.runtime.config")
    run = build_run(name)
    strategy = run.strategy
    folder = export_plan(tmp_path, name, "deepspeed", "--arguments", "train.py --epochs 1")
    words, _ = capture_arguments("torchrun", folder / "train.sh")
    file = words[words.index("--deepspeed_config") + 1]
    assert words[words.index("train.py") : words.index("--deepspeed")] == ["train.py", "--epochs", "1"]
    # without processes it assumes a single rank: the number of data-parallel ranks is patched
    with (
        patch.object(config.dist, "get_rank", lambda: 0),
        patch.object(config.dist, "get_world_size", lambda: strategy.dp),
    ):
        read = config.DeepSpeedConfig(file)
    assert read.train_batch_size == run.global_batch
    assert read.train_micro_batch_size_per_gpu == strategy.micro_batch
    assert read.gradient_accumulation_steps == run.micro_batches
    assert read.zero_optimization_stage == strategy.zero_stage
    narrow = read.bfloat16_config
    assert narrow.enabled
    assert narrow.bf16_master_weights_and_grads == (run.settings.master == "bf16")
    assert narrow.bf16_optimizer_states == (run.settings.moments == "bf16")
    zero = read.zero_config
    assert (zero.max_reuse_distance > 2 * 8e9) == (run.settings.reshard == "never")
    assert zero.overlap_comm
    assert (zero.offload_optimizer is not None) == ("optimizer" in run.settings.offload)
    assert (zero.offload_param is not None) == ("weights" in run.settings.offload)
    raw = json.loads(Path(file).read_text())
    types = {"fp32": "torch.float32", "bf16": "torch.bfloat16"}
    assert str(read.communication_data_type) == types[run.settings.communication]
    assert read.grad_accum_dtype == run.settings.gradients
    assert read.tensor_parallel_config.autotp_size == (strategy.tp if strategy.tp > 1 else 0)
    # it ignores unknown keys silently: every key must be one of its fields
    known = set(type(zero).model_fields) | {field.alias for field in type(zero).model_fields.values()}
    assert set(raw["zero_optimization"]) <= known
