"""Megatron-Bridge's script, run as far as its ConfigContainer by Megatron-Bridge itself."""

import pytest

from planner.export.run import PlannedRun
from tests.export.plans import PLANS_BY_TRAINER, build_run, export_plan
from tests.export.real.needs import import_package
from tests.export.real.trees import describe_launch, find_tree, run_script

pytestmark = pytest.mark.export


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """The sizes of each plan's configuration, in a single process, which takes long to start."""
    folder = find_tree("megatron-bridge")
    import_package("megatron.core")
    scripts = []
    for name in PLANS_BY_TRAINER["megatron-bridge"]:
        script = export_plan(tmp_path_factory.mktemp("bridge"), name, "megatron-bridge") / "planned_bridge.py"
        scripts.append(describe_launch(script, build_run(name).devices))
    read = run_script("bridge_configs.py", folder, scripts, tmp_path_factory.mktemp("read") / "configs.json")
    return dict(zip(PLANS_BY_TRAINER["megatron-bridge"], read, strict=True))  # type: ignore[call-overload]


@pytest.mark.parametrize("name", PLANS_BY_TRAINER["megatron-bridge"])
def test_megatron_bridge_makes_a_configuration(name: str, configs: dict[str, dict[str, object]]) -> None:
    run, sizes = build_run(name), configs[name]
    strategy = run.strategy
    assert run.model is not None
    assert sizes["class"] == "ConfigContainer"
    assert [sizes[key] for key in ("tp", "pp", "cp", "dp")] == [strategy.tp, strategy.pp, strategy.cp, strategy.dp]
    assert (sizes["layers"], sizes["vocabulary"]) == (run.layers, run.model.vocab_size)
    assert (sizes["global_batch"], sizes["micro_batch"]) == (run.global_batch, strategy.micro_batch)
    assert sizes["zero"] == (strategy.zero_stage > 0)
    assert sizes["fsdp"] == (strategy.zero_stage > 1)
    check_settings(sizes, run)


def check_settings(sizes: dict[str, object], run: PlannedRun) -> None:
    """Each setting by what Megatron-Bridge trains with."""
    settings, strategy = run.settings, run.strategy
    assert sizes["loss"] == {"plain": None, "compiled": "native", "fused": "te"}[settings.loss]
    assert sizes["overlaps"] == [
        run.overlaps_tp,
        strategy.vpp > 1 and settings.pp_overlap != "no",
        settings.ep_overlap and strategy.ep > 1,
        settings.dp_overlap,
        settings.dp_overlap and settings.gather_overlap and strategy.zero_stage > 0,
    ]
    if strategy.ep > 1:
        assert sizes["dispatcher"] == ["flex" if settings.ep_exchange == "deepep" else "alltoall", "deepep"]
    has_fp8, gathers_fp8 = run.precision == "fp8", settings.gather == "fp8"
    assert sizes["fp8"] in (
        [["hybrid", "delayed", gathers_fp8, gathers_fp8]]
        if has_fp8
        else [["None", name, False, False] for name in ("tensorwise", "delayed")]
    )
    has_fp8_attention = settings.attention_precision == "fp8"
    assert sizes["fp8_attention"][0] == has_fp8_attention  # type: ignore[index]
    assert (sizes["fp8_attention"][1] == "fused") == has_fp8_attention  # type: ignore[index]
    format_name = {"fp32": "float32", "bf16": "bfloat16", "fp8": "uint8"}[settings.moments]
    assert sizes["moments"] == [f"torch.{format_name}"] * 2
    if settings.master == "bf16":
        assert sizes["master"] == [True, True]
    elif settings.moments != "fp32":
        assert sizes["master"] == [True, False]
