"""The user's fields in the files of each launcher, what it does not support, and its notes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.errors import InputError
from planner.export.launcher import Launcher, LaunchJob, build_field_notes, fill_launcher_fields
from planner.export.launchers import LAUNCHERS
from planner.export.run import PlannedRun, RunAccelerator
from planner.export.trainer import UserExtras
from planner.export.trainers import TRAINERS
from tests.export.plans import build_run
from tests.export.test_unsupported import Changes, change_plan


def build_launcher_file(launcher: str, run: PlannedRun, trainer: str, **fields: str) -> str:
    """The file of a launcher."""
    user_fields = {name.replace("_", "-"): value for name, value in fields.items()}
    launcher_type: Launcher = LAUNCHERS[launcher]
    files = TRAINERS[trainer].build_files(run, UserExtras())
    return next(
        iter(
            launcher_type.build_files(
                LaunchJob(run, trainer, files, fill_launcher_fields(run, launcher_type, user_fields))
            ).values()
        )
    )


H100, TPU = ("fsdp", "torchtitan"), ("tpu", "maxtext")
LAUNCHER_CASES: list[tuple[str, tuple[str, str], dict[str, str], str]] = [
    ("gcp-tpu", TPU, {}, "--accelerator-type v5p-128 --runtime-version v2-alpha-tpuv5\n"),
    ("gcp-tpu", TPU, {"zone": "us-east5-a", "project": "a b"}, "where=(--zone us-east5-a --project 'a b')\n"),
    ("kubernetes", H100, {"claim": "data"}, "claimName: data\n"),
    ("kubernetes", H100, {"service_account": "me"}, "serviceAccountName: me\n"),
    ("kubernetes", H100, {"node_selector": "a=b,c=d"}, "nodeSelector:\n        a: b\n        c: d\n"),
    ("kubernetes", H100, {"namespace": "team"}, "namespace: team\n"),
    ("skypilot", TPU, {}, "accelerators: tpu-v5p-128:1\n"),
    ("skypilot", H100, {"infra": "gcp/us-central1"}, "infra: gcp/us-central1\n"),
    ("skypilot", H100, {"image": "nvcr.io/x:1"}, "image_id: docker:nvcr.io/x:1\n"),
    ("skypilot", H100, {"image": "docker:x"}, "image_id: docker:x\n"),
    ("skypilot", H100, {"setup": "pip install x"}, "setup: |\n  pip install x\n"),
    ("azureml", H100, {"compute": "mine"}, "compute: azureml:mine\n"),
    ("sagemaker", H100, {"volume": "9"}, '"VolumeSizeInGB": 9\n'),
    ("gcp-tpu", TPU, {"bucket": "mine"}, "CHECKPOINTS=gs://mine/llama-3-8b bash plan/train.sh"),
    ("skypilot", H100, {"bucket": "s3://mine"}, "CHECKPOINTS: /checkpoints/llama-3-8b\n"),
    ("kubernetes", H100, {"claim": "data"}, "value: /data/llama-3-8b\n"),
    ("torchrun", ("one-node", "torchtitan"), {}, "NODE_RANK=0 MASTER_ADDR=127.0.0.1\n"),
]


@pytest.mark.parametrize(("launcher", "plan", "fields", "text"), LAUNCHER_CASES)
def test_a_launchers_file_has_the_fields_of_the_user(
    launcher: str, plan: tuple[str, str], fields: dict[str, str], text: str
) -> None:
    name, trainer = plan
    assert text in build_launcher_file(launcher, build_run(name), trainer, **fields)


@pytest.mark.parametrize(
    ("launcher", "fields", "message"),
    [
        ("sagemaker", {"volume": "much"}, "--with volume: not a count"),
        ("sagemaker", {"volume": "²"}, "--with volume: not a count"),
        ("slurm", {"hours": "long"}, "--with hours: not a count"),
        ("slurm", {"hours": "0"}, "--with hours: out of range"),
        ("sagemaker", {"role": ""}, "--with role: is empty"),
        ("kubernetes", {"image": ""}, "--with image: is empty"),
        ("kubernetes", {"node_selector": "a=b,c"}, "--with node-selector: not a label"),
    ],
)
def test_an_invalid_field_is_refused(launcher: str, fields: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        build_launcher_file(launcher, build_run("fsdp"), "torchtitan", **fields)
    assert message in str(caught.value)


def test_a_resource_is_left_out_where_its_name_is_empty() -> None:
    assert "resources:" not in build_launcher_file("kubernetes", build_run("fsdp"), "torchtitan", resource="")


def test_a_time_limit_is_that_of_the_tokens() -> None:
    for launcher, words in (
        ("kubernetes", "activeDeadlineSeconds"),
        ("azureml", "timeout"),
        ("slurm", "#SBATCH --time"),
    ):
        assert words in build_launcher_file(launcher, replace(build_run("fsdp"), tokens=10**12), "torchtitan")
        assert words not in build_launcher_file(launcher, build_run("fsdp"), "torchtitan")


@pytest.mark.parametrize(
    ("launcher", "changes", "plan"),
    [
        ("gcp-tpu", {}, H100),
        ("sagemaker", {"devices_per_node": 3}, H100),
        ("azureml", {"devices_per_node": 3}, H100),
        ("skypilot", {"accelerator": RunAccelerator("gaudi3", "Intel", "npu")}, H100),
        ("torchrun", {}, TPU),
    ],
)
def test_a_launcher_refuses_unsupported_hardware(launcher: str, changes: Changes, plan: tuple[str, str]) -> None:
    name, trainer = plan
    (refusal,) = LAUNCHERS[launcher].find_unsupported(change_plan(build_run(name), changes), trainer)
    assert refusal.setting == ("--to" if launcher == "torchrun" else "accelerator")
    assert refusal.supported
    fitting, theirs = H100 if launcher != "gcp-tpu" else TPU
    assert list(LAUNCHERS[launcher].find_unsupported(build_run(fitting), theirs)) == []


def test_a_launcher_notes_its_differences() -> None:
    run = replace(build_run("dense"), tokens=10**15)
    assert "ends after 28 days" in " ".join(LAUNCHERS["sagemaker"].build_notes(run))
    assert list(LAUNCHERS["sagemaker"].build_notes(build_run("fsdp"))) == []
    assert "GKE chooses a slice by labels" in " ".join(LAUNCHERS["kubernetes"].build_notes(build_run("tpu")))
    placed = replace(build_run("fsdp"), hosts=("b", "a"))
    assert "hosts.txt" in " ".join(LAUNCHERS["kubernetes"].build_notes(placed))
    assert "- b\n                - a\n" in build_launcher_file("kubernetes", placed, "torchtitan")


def test_placeholders_are_noted() -> None:
    run, launcher_type = build_run("fsdp"), LAUNCHERS["sagemaker"]
    notes = list(build_field_notes(run, launcher_type, {"role": "mine"}))
    assert ["BUCKET is a placeholder" in line for line in notes].count(True) == 1
    assert not any("ROLE-ARN" in line for line in notes)
    assert any("--with image=... sets another" in line for line in notes)
