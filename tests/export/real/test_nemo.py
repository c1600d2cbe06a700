"""NeMo's script, run by NeMo itself as far as `llm.pretrain`, with its strategy's values in the configuration."""

import pytest

from tests.export.plans import PLANS_BY_TRAINER, build_run, export_plan
from tests.export.real.needs import import_package
from tests.export.real.trees import find_tree, run_script

pytestmark = pytest.mark.export


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """The values of each plan, in a single process, which takes long to start."""
    import_package("lightning")
    folders = [export_plan(tmp_path_factory.mktemp("nemo"), name, "nemo") for name in PLANS_BY_TRAINER["nemo"]]
    scripts = [str(folder / "planned_nemo.py") for folder in folders]
    trees = find_tree("nemo_toolkit"), find_tree("megatron-core")
    values = run_script("nemo_configs.py", trees, scripts, tmp_path_factory.mktemp("read") / "values.json")
    return dict(zip(PLANS_BY_TRAINER["nemo"], values, strict=True))  # type: ignore[call-overload]


@pytest.mark.parametrize("name", PLANS_BY_TRAINER["nemo"])
def test_nemo_trains_with_the_plan(name: str, read: dict[str, dict[str, object]]) -> None:
    run, values = build_run(name), read[name]
    strategy, settings = run.strategy, run.settings
    assert values["devices"] == run.devices
    assert [values[key] for key in ("tp", "pp", "cp")] == [strategy.tp, strategy.pp, strategy.cp]
    assert (values["layers"], values["steps"]) == (run.layers, run.steps)
    assert values["batch"] == [run.global_batch, strategy.micro_batch]
    assert values["zero"] == (strategy.zero_stage > 0)
    assert values["loss"] == {"plain": None, "compiled": "native", "fused": "te"}[settings.loss]
    overlaps_experts = settings.ep_overlap and strategy.ep > 1
    assert values["overlaps"] == [strategy.vpp > 1 and settings.pp_overlap != "no", overlaps_experts]
    if strategy.ep > 1:
        assert values["dispatcher"] == ["flex", True] if settings.ep_exchange == "deepep" else ["alltoall", False]
    gathers_fp8, has_fp8_attention = settings.gather == "fp8", settings.attention_precision == "fp8"
    assert values["fp8"] == ["hybrid" if run.precision == "fp8" else None, "delayed", gathers_fp8, gathers_fp8]
    assert values["fp8_attention"][0] == has_fp8_attention  # type: ignore[index]
    assert (values["fp8_attention"][1] == "fused") == has_fp8_attention  # type: ignore[index]
    format_name = {"fp32": "float32", "bf16": "bfloat16", "fp8": "uint8"}[settings.moments]
    assert values["moments"] == [f"torch.{format_name}"] * 2
    if settings.moments != "fp32":
        assert values["master"] == [True, settings.master == "bf16"]
    assert values["graph"] == (run.launch == "graph")
