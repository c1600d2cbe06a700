"""Accelerate's configuration file, by the classes of `accelerate launch`."""

from pathlib import Path

import pytest

from planner.export.trainers.accelerate import get_sharding_engine
from tests.export.plans import OF, exported, run_of
from tests.export.real.needs import package
from tests.export.real.words import handed_to

pytestmark = pytest.mark.export


@pytest.mark.parametrize("name", OF["accelerate"])
def test_accelerate_launch_takes_its_configuration(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch, config = package("accelerate.commands.launch"), package("accelerate.commands.config.config_args")
    run, script = run_of(name), tmp_path / "train.py"
    one = run.strategy
    words, _ = handed_to("accelerate", exported(tmp_path, name, "accelerate") / "train.sh", str(script))
    args = launch.launch_command_parser().parse_args(words[1:])
    read = config.load_config_from_file(args.config_file)
    assert isinstance(read, config.ClusterConfig)
    assert (read.num_machines, read.num_processes) == (run.nodes, run.devices)
    kinds = {"ddp": "MULTI_GPU", "fsdp": "FSDP", "deepspeed": "DEEPSPEED"}
    assert read.distributed_type.value == kinds[get_sharding_engine(run)]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: run.devices_per_node)
    args, _defaults, _ = launch._validate_launch_command(args)
    assert (args.num_machines, args.num_processes, args.machine_rank) == (run.nodes, run.devices, 0)
    if get_sharding_engine(run) != "fsdp":
        return
    environment = package("accelerate.utils.launch").prepare_multi_gpu_env(args)
    assert args.use_fsdp
    assert int(environment["FSDP_VERSION"]) == 2
    assert environment["FSDP_RESHARD_AFTER_FORWARD"].lower() == str(one.zero_stage == 3).lower()
    for key in list(environment):
        monkeypatch.setenv(key, environment[key]) if key.startswith(("PARALLELISM", "FSDP")) else None
    sizes = package("accelerate.parallelism_config").ParallelismConfig()
    assert sizes.dp_replicate_size * sizes.dp_shard_size == one.dp
    assert (sizes.tp_size, sizes.cp_size) == (one.tp, one.cp)
    assert sizes.total_size == run.devices
