"""MaxText's file: every key is in base.yml, every value of the type that MaxText's configuration has for it."""

import math
import re
from pathlib import Path

import pytest
import yaml

from planner.export.trainer import UserExtras
from planner.export.trainers import TRAINERS
from tests.export.plans import PLANS_BY_TRAINER, build_run, export_plan
from tests.export.real.needs import import_package
from tests.export.real.trees import find_tree, run_script
from tests.export.test_unsupported import change_plan

pytestmark = pytest.mark.export


def read_configs(folder: Path) -> dict[str, dict[str, object]]:
    configs = {}
    for name in PLANS_BY_TRAINER["maxtext"]:
        configs[name] = yaml.safe_load((export_plan(folder, name, "maxtext") / "maxtext.yml").read_text())
        assert configs[name].pop("base_config") == "base.yml"
    return configs


def test_maxtext_has_every_key_and_takes_every_value(tmp_path: Path) -> None:
    folder = find_tree("maxtext")
    import_package("pydantic")
    base = yaml.safe_load((folder / "maxtext" / "configs" / "base.yml").read_text())
    configs = read_configs(tmp_path)
    for config in configs.values():
        assert set(config) <= set(base)
    read = run_script("maxtext_configs.py", folder, list(configs.values()), tmp_path / "parsed.json")
    assert read == list(configs.values())
    known = (folder / "maxtext" / "layers" / "nnx_decoders.py").read_text()
    blocks = (folder / "maxtext" / "common" / "common_types.py").read_text()
    for config in configs.values():
        policy = config["remat_policy"]
        assert policy in ("none", "full") or re.search(rf'remat_policy (==|in) [^:\n]*"{policy}"', known)
        assert f'= "{config["decoder_block"]}"' in blocks


@pytest.mark.parametrize("name", PLANS_BY_TRAINER["maxtext"])
def test_the_mesh_has_all_devices_and_the_batch_all_sequences(name: str, tmp_path: Path) -> None:
    config, run = read_configs(tmp_path)[name], build_run(name)
    axes = [value for key, value in config.items() if key.startswith("ici_")]
    assert math.prod(axes) == run.devices  # type: ignore[arg-type]
    per_device, passes = config["per_device_batch_size"], config["gradient_accumulation_steps"]
    assert per_device * run.devices * passes == run.global_batch  # type: ignore[operator]


def test_documents_that_are_apart_are_a_configuration_of_maxtext(tmp_path: Path) -> None:
    folder = find_tree("maxtext")
    import_package("pydantic")
    run = change_plan(build_run("zero-1-fp8"), {"settings.packing": "2048"})
    config = yaml.safe_load(TRAINERS["maxtext"].build_files(run, UserExtras())["maxtext.yml"])
    config.pop("base_config")
    assert (config["packing"], config["max_segments_per_seq"]) == (True, 2 * run.seq_length // 2048)
    assert run_script("maxtext_configs.py", folder, [config], tmp_path / "parsed.json") == [config]
