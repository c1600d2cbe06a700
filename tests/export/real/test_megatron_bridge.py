"""Megatron-Bridge's script, run as far as its ConfigContainer by Megatron-Bridge itself."""

import pytest

from tests.export.plans import OF, exported, run_of
from tests.export.real.needs import package
from tests.export.real.trees import run_script, tree

pytestmark = pytest.mark.export


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """The sizes of each plan's configuration: of all in one process, which takes long to start."""
    where = tree("megatron-bridge")
    package("megatron.core")
    scripts = []
    for name in OF["megatron-bridge"]:
        script = exported(tmp_path_factory.mktemp("bridge"), name, "megatron-bridge") / "planned_bridge.py"
        script.with_suffix(".devices").write_text(str(run_of(name).devices))
        scripts.append(str(script))
    told = run_script("bridge_configs.py", where, scripts, tmp_path_factory.mktemp("told") / "configs.json")
    return dict(zip(OF["megatron-bridge"], told, strict=True))  # type: ignore[call-overload]


@pytest.mark.parametrize("name", OF["megatron-bridge"])
def test_megatron_bridge_makes_a_configuration(name: str, configs: dict[str, dict[str, object]]) -> None:
    run, told = run_of(name), configs[name]
    one = run.strategy
    assert run.model is not None
    assert told["class"] == "ConfigContainer"
    assert [told[key] for key in ("tp", "pp", "cp", "dp")] == [one.tp, one.pp, one.cp, one.dp]
    assert (told["layers"], told["vocabulary"]) == (run.layers, run.model.vocab_size)
    assert (told["global_batch"], told["micro_batch"]) == (run.global_batch, one.micro_batch)
    assert told["zero"] == (one.zero_stage > 0)
    assert told["fsdp"] == (one.zero_stage > 1)
