"""Models and clusters by the user's name for them: a preset, a file, a size."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from planner.cluster.build.pools import HeteroCluster, join_presets, resolve_pools
from planner.cluster.build.regular_cluster import exchange_accelerator, resolve_node_spec
from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model import presets
from planner.cluster.model.cluster import Cluster
from planner.cluster.model.spec import MAX_CLUSTER_DEVICES, ClusterSpec, parse_cluster_spec
from planner.cluster.wired.failed_parts import parse_failed_part
from planner.errors import InputError, find_nearest_name
from planner.hardware import database
from planner.hardware.accelerator import Accelerator
from planner.request.files import is_existing_folder, is_existing_path, is_path_like, read_formatted_file
from planner.request.options import CLUSTER_ENDINGS, TRAINING_PRECISIONS
from planner.units import parse_count
from planner.workload.from_size import build_spec_for_size, describe_size, looks_like_size
from planner.workload.operator_list.spec import OperatorListSpec
from planner.workload.operators import Workload
from planner.workload.presets import (
    find_hub_name,
    list_preset_names,
    parse_model_file,
    read_hub_preset,
    read_model_preset,
)
from planner.workload.spec import ModelSpec, check_model_spec
from planner.workload.transformer import build_workload

_EXPECTED_MODEL = "a preset (`planner models list`), a config.json, a model TOML, or a size such as 70B"


def read_model(name: str, seq_length: int | None, mtp_layers: int | None = None) -> Workload:
    """The model of a preset, a config.json (or its folder), a model file, or a bare size, with this number of layers
    of multi-token prediction; None: its own. Raises InputError.
    """
    spec, note = read_model_spec(name, seq_length, mtp_layers)
    return build_workload(spec, seq_length=seq_length, note=note)


def read_model_spec(
    name: str, seq_length: int | None, mtp_layers: int | None = None
) -> tuple[ModelSpec | OperatorListSpec, str]:
    """The same model's description, and a note on defaults that were assumed.

    Raises InputError, also for a sequence length or layers of multi-token prediction that the model does not support.
    """
    known_names = list_preset_names()
    note = ""
    if not name.strip():
        raise InputError("no model is named", key="MODEL", value='""', expected=_EXPECTED_MODEL)
    hub_name = find_hub_name(name) if "/" in name and not is_existing_path(name) else None
    if name.casefold() in known_names:
        spec = read_model_preset(name.casefold())
    elif hub_name is not None:
        spec = read_hub_preset(hub_name)
    elif is_existing_path(name) or is_path_like(name):
        spec, note = _read_model_file(Path(name), seq_length)
    elif looks_like_size(name):
        spec = build_spec_for_size(name)
        note = describe_size(spec)
    else:
        suggestion = find_nearest_name(name, known_names)
        raise InputError("unknown model", key="MODEL", value=name, expected=_EXPECTED_MODEL, suggestion=suggestion)
    if seq_length is not None and (not isinstance(spec, ModelSpec) or spec.vision is not None):
        problem = f"{spec.name} has no sequence length"
        expected = "left out: its list of operators or its image says how large a sample is"
        raise InputError(problem, key="--seq-length", value=seq_length, expected=expected)
    if seq_length is not None and isinstance(spec, ModelSpec) and 0 < (spec.learned_positions or 0) < seq_length:
        problem = f"{spec.name} has learned positions, for shorter sequences only"
        expected = f"at most {spec.learned_positions}"
        raise InputError(problem, key="--seq-length", value=seq_length, expected=expected)
    return (spec if mtp_layers is None else _replace_prediction_layers(spec, mtp_layers)), note


def _replace_prediction_layers(spec: ModelSpec | OperatorListSpec, mtp_layers: int) -> ModelSpec | OperatorListSpec:
    """The model with another number of layers of multi-token prediction. Raises InputError for one without a head of
    language.
    """
    if not isinstance(spec, ModelSpec):
        if mtp_layers:
            problem = f"{spec.name} predicts no tokens"
            raise InputError(problem, key="--mtp-layers", value=mtp_layers, expected="0, or left out")
        return spec
    changed = msgspec.structs.replace(spec, mtp_layers=mtp_layers)
    return check_model_spec(changed, "", {"mtp_layers": "--mtp-layers"})


def _read_model_file(path: Path, seq_length: int | None) -> tuple[ModelSpec | OperatorListSpec, str]:
    """The description in a file, and a note on defaults that were assumed."""
    from planner.workload.huggingface.read_config import read_huggingface_config
    from planner.workload.huggingface.training_length import find_training_length

    file = path / "config.json" if is_existing_folder(path) else path
    text, file_format = read_formatted_file(file, (".json", ".toml"), "a config.json or its folder, or a model TOML")
    if file_format != "json":
        return parse_model_file(text, file_format, str(file)), ""
    name = file.absolute().parent.name if file.name == "config.json" else file.stem
    read = read_huggingface_config(text, str(file), name or file.stem)
    spec, notes = read.spec, list(read.notes)
    length = find_training_length(spec, read.model_type)
    if seq_length is None and length != spec.seq_length:
        notes.append(
            f"sequence {length:,}, usual for the training of {read.model_type} models, of the {spec.seq_length:,} "
            f"that {file.name} allows; --seq-length sets another"
        )
        spec = msgspec.structs.replace(spec, seq_length=length)
    return spec, "; ".join(notes)


def read_cluster(
    name: str, nodes: int | None = None, devices: int | None = None, fault: Collection[str] = ()
) -> Cluster:
    """The cluster of a preset or a file, with the user's number of nodes or devices, and failed parts.

    `fault`: failed parts in the form of --fault. Raises InputError.
    """
    spec, origin = read_cluster_spec(name)
    failed_parts = tuple(parse_failed_part(text) for text in fault)
    return resolve_cluster(spec, origin, nodes=nodes, devices=devices, failed_parts=failed_parts)


def read_exchanged_cluster(
    name: str, nodes: int | None, devices: int | None, fault: Collection[str], parts: Mapping[str, str]
) -> Cluster:
    """The cluster of `read_cluster` with other parts of hardware_db, by `node` and `accelerator`. An accelerator is
    exchanged alone: links, NICs and hosts stay those of the node, whose rated power changes by what it draws.

    Raises InputError as `read_cluster`, for an unknown part, and for hosts that name their own kinds of nodes.
    """
    spec, origin = read_cluster_spec(name)
    node = spec.node
    if node is None or any(host.node is not None for host in spec.hosts):
        expected = "a cluster with one kind of node"
        raise InputError("its hosts name their own nodes", key=next(iter(parts)), value=name, expected=expected)
    if "node" in parts:
        node = presets.load_node_spec(parts["node"].casefold(), key="node")
    if "accelerator" in parts:
        node = exchange_accelerator(resolve_node_spec(node), parts["accelerator"].casefold())
    failed_parts = tuple(parse_failed_part(text) for text in fault)
    spec = msgspec.structs.replace(spec, node=node)
    return resolve_cluster(spec, origin, nodes=nodes, devices=devices, failed_parts=failed_parts)


def is_preset_name(option: str, name: str) -> bool:
    """Whether `name` is a preset, which has precedence over a file of the name; `option`: "cluster", or a model's."""
    known_names = database.list_database_names("clusters") if option == "cluster" else list_preset_names()
    return name.casefold() in map(str.casefold, known_names)


def is_joined_presets(name: str) -> bool:
    """Whether `name` joins presets: `dgx-h100:32+dgx-a100:32`."""
    return "+" in name and not (is_existing_path(name) or is_path_like(name))


def read_cluster_spec(name: str) -> tuple[ClusterSpec, str]:
    """The description of a preset or in a cluster file, and its origin. Raises InputError."""
    known_names = {known_name.casefold(): known_name for known_name in database.list_database_names("clusters")}
    if not name.strip():
        expected = "a preset (`planner cluster list`) or a cluster file"
        raise InputError("no cluster is named", key="--cluster", value='""', expected=expected)
    if is_joined_presets(name):
        expected = "a single pool; `plan` takes several"
        raise InputError("the cluster is heterogeneous", key="--cluster", value=name, expected=expected)
    preset = known_names.get(name.casefold(), "")
    if preset or not (is_existing_path(name) or is_path_like(name)):
        spec = presets.load_cluster_spec(preset or name)
        return spec, f"hardware_db/clusters/{spec.name}.toml"
    text, file_format = read_formatted_file(Path(name), CLUSTER_ENDINGS, "a cluster file")
    return parse_cluster_spec(text, file_format, name), name


def read_pools(name: str) -> HeteroCluster | None:
    """The pools of a file, or of joined presets; None for a homogeneous cluster. Raises InputError."""
    if is_joined_presets(name):
        spec, note = join_presets([_parse_pool_preset(part) for part in name.split("+")])
        return resolve_pools(spec, "--cluster", note)
    if not is_path_like(name) or not is_existing_path(name):
        return None
    text, file_format = read_formatted_file(Path(name), CLUSTER_ENDINGS, "a cluster file")
    spec = parse_cluster_spec(text, file_format, name)
    return resolve_pools(spec, name) if spec.pools else None


def _parse_pool_preset(part: str) -> tuple[str, int | None]:
    """The preset of `dgx-h100:32`, and its number of nodes where it is given. Raises InputError."""
    name, colon, count = part.strip().partition(":")
    if not colon:
        return name.casefold(), None
    example = "32, as in dgx-h100:32+dgx-a100:32"
    return name.casefold(), parse_count(count, key="--cluster", maximum=MAX_CLUSTER_DEVICES, example=example)


def check_precision(text: str | None, accelerator: Accelerator | None = None) -> str | None:
    """The number format in lower case. Raises InputError unless models are trained in it and the accelerator has a
    dense peak for it.
    """
    if text is None:
        return None
    name = text.casefold()
    known_names = [
        precision for precision in TRAINING_PRECISIONS if accelerator is None or precision in accelerator.peak_flops
    ]
    if name in known_names:
        return name
    problem = "models are not trained in this precision"
    if accelerator is not None and name not in accelerator.peak_flops:
        problem = f"{accelerator.name} has no dense peak for this precision"
    expected, suggestion = f"one of {', '.join(known_names)}", find_nearest_name(name, known_names)
    raise InputError(problem, key="--precision", value=text, expected=expected, suggestion=suggestion)
