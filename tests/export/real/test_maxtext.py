"""MaxText's file: every key is one of base.yml, every value of the type that MaxText's configuration has for it."""

import math
from pathlib import Path

import pytest
import yaml

from tests.export.plans import OF, exported, run_of
from tests.export.real.needs import package
from tests.export.real.trees import run_script, tree

pytestmark = pytest.mark.export


def files(folder: Path) -> dict[str, dict[str, object]]:
    found = {}
    for name in OF["maxtext"]:
        found[name] = yaml.safe_load((exported(folder, name, "maxtext") / "maxtext.yml").read_text())
        assert found[name].pop("base_config") == "base.yml"
    return found


def test_maxtext_has_every_key_and_takes_every_value(tmp_path: Path) -> None:
    where = tree("maxtext")
    package("pydantic")
    base = yaml.safe_load((where / "maxtext" / "configs" / "base.yml").read_text())
    configs = files(tmp_path)
    for config in configs.values():
        assert set(config) <= set(base)
    read = run_script("maxtext_configs.py", where, list(configs.values()), tmp_path / "told.json")
    assert read == list(configs.values())
    known = (where / "maxtext" / "layers" / "nnx_decoders.py").read_text()
    blocks = (where / "maxtext" / "common" / "common_types.py").read_text()
    for config in configs.values():
        assert f'remat_policy == "{config["remat_policy"]}"' in known or config["remat_policy"] in ("none", "full")
        assert f'= "{config["decoder_block"]}"' in blocks


@pytest.mark.parametrize("name", OF["maxtext"])
def test_the_mesh_has_all_devices_and_the_batch_all_sequences(name: str, tmp_path: Path) -> None:
    config, run = files(tmp_path)[name], run_of(name)
    axes = [value for key, value in config.items() if key.startswith("ici_")]
    assert math.prod(axes) == run.devices  # type: ignore[arg-type]
    per_device, passes = config["per_device_batch_size"], config["gradient_accumulation_steps"]
    assert per_device * run.devices * passes == run.global_batch  # type: ignore[operator]
