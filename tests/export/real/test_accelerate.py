"""Accelerate's configuration file, by the classes of `accelerate launch`."""

from pathlib import Path

import pytest

from planner.export.trainers.accelerate import get_sharding_engine
from tests.export.plans import PLANS_BY_TRAINER, build_run, export_plan
from tests.export.real.needs import import_package
from tests.export.real.words import capture_arguments

pytestmark = pytest.mark.export


@pytest.mark.parametrize("name", PLANS_BY_TRAINER["accelerate"])
def test_accelerate_launch_takes_its_configuration(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch, config = (
        import_package("accelerate.commands.launch"),
        import_package("accelerate.commands.config.config_args"),
    )
    run, script = build_run(name), tmp_path / "train.py"
    strategy = run.strategy
    words, _ = capture_arguments("accelerate", export_plan(tmp_path, name, "accelerate") / "train.sh", str(script))
    args = launch.launch_command_parser().parse_args(words[1:])
    read = config.load_config_from_file(args.config_file)
    assert isinstance(read, config.ClusterConfig)
    assert (read.num_machines, read.num_processes) == (run.nodes, run.devices)
    type_names = {"ddp": "MULTI_GPU", "fsdp": "FSDP", "deepspeed": "DEEPSPEED"}
    assert read.distributed_type.value == type_names[get_sharding_engine(run)]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: run.devices_per_node)
    monkeypatch.setattr("accelerate.utils.launch.is_fp8_available", lambda: True)
    args, _defaults, _ = launch._validate_launch_command(args)
    assert (args.num_machines, args.num_processes, args.machine_rank) == (run.nodes, run.devices, 0)
    if get_sharding_engine(run) != "fsdp":
        return
    environment = import_package("accelerate.utils.launch").prepare_multi_gpu_env(args)
    assert args.use_fsdp
    assert int(environment["FSDP_VERSION"]) == 2
    reshards = strategy.zero_stage == 3 and run.settings.reshard != "never"
    assert environment["FSDP_RESHARD_AFTER_FORWARD"] == str(reshards).lower()
    assert environment["ACCELERATE_MIXED_PRECISION"] == ("no" if run.settings.master == "none" else run.precision)
    offloads = str("activations" in run.settings.offload).lower()
    assert environment["FSDP_ACTIVATION_CHECKPOINTING_OFFLOAD"] == offloads
    if run.precision == "fp8":
        gathers = environment["ACCELERATE_FP8_ENABLE_FSDP_FLOAT8_ALL_GATHER"]
        assert (environment["ACCELERATE_FP8_BACKEND"], gathers) == ("AO", str(run.settings.gather == "fp8"))
    for key in list(environment):
        monkeypatch.setenv(key, environment[key]) if key.startswith(("PARALLELISM", "FSDP")) else None
    sizes = import_package("accelerate.parallelism_config").ParallelismConfig()
    assert sizes.dp_replicate_size * sizes.dp_shard_size == strategy.dp
    assert (sizes.tp_size, sizes.cp_size) == (strategy.tp, strategy.cp)
    assert sizes.total_size == run.devices
