"""What each launcher's files hold of the user's words, what it cannot start, and what it notes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.errors import InputError
from planner.export.launcher import Launcher, LaunchJob, build_field_notes, fill_launcher_fields
from planner.export.launchers import LAUNCHERS
from planner.export.run import PlannedRun, RunAccelerator
from planner.export.trainer import UserExtras
from planner.export.trainers import TRAINERS
from tests.export.plans import run_of
from tests.export.test_misfits import Changes, changed


def launched(launcher: str, run: PlannedRun, trainer: str, **fields: str) -> str:
    """The file of a launcher."""
    given = {name.replace("_", "-"): value for name, value in fields.items()}
    chosen: Launcher = LAUNCHERS[launcher]
    files = TRAINERS[trainer].build_files(run, UserExtras())
    return next(
        iter(chosen.build_files(LaunchJob(run, trainer, files, fill_launcher_fields(run, chosen, given))).values())
    )


H100, TPU = ("fsdp", "torchtitan"), ("tpu", "maxtext")
LAUNCHED: list[tuple[str, tuple[str, str], dict[str, str], str]] = [
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
    ("torchrun", ("one-node", "torchtitan"), {}, "NODE_RANK=0 MASTER_ADDR=127.0.0.1\n"),
]


@pytest.mark.parametrize(("launcher", "plan", "fields", "told"), LAUNCHED)
def test_a_launcher_is_told_what_the_user_says(
    launcher: str, plan: tuple[str, str], fields: dict[str, str], told: str
) -> None:
    name, trainer = plan
    assert told in launched(launcher, run_of(name), trainer, **fields)


@pytest.mark.parametrize(
    ("launcher", "fields", "told"),
    [
        ("sagemaker", {"volume": "much"}, "--with volume: not a count"),
        ("sagemaker", {"volume": "²"}, "--with volume: not a count"),
        ("sagemaker", {"role": ""}, "--with role: is empty"),
        ("kubernetes", {"image": ""}, "--with image: is empty"),
        ("kubernetes", {"node_selector": "a=b,c"}, "--with node-selector: not a label"),
    ],
)
def test_a_field_that_makes_no_sense_is_refused(launcher: str, fields: dict[str, str], told: str) -> None:
    with pytest.raises(InputError) as caught:
        launched(launcher, run_of("fsdp"), "torchtitan", **fields)
    assert told in str(caught.value)


def test_a_resource_is_left_out_where_none_is_named() -> None:
    assert "resources:" not in launched("kubernetes", run_of("fsdp"), "torchtitan", resource="")


def test_a_time_limit_is_that_of_the_tokens() -> None:
    for launcher, words in (
        ("kubernetes", "activeDeadlineSeconds"),
        ("azureml", "timeout"),
        ("slurm", "#SBATCH --time"),
    ):
        assert words in launched(launcher, replace(run_of("fsdp"), tokens=10**12), "torchtitan")
        assert words not in launched(launcher, run_of("fsdp"), "torchtitan")


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
def test_a_launcher_refuses_what_it_does_not_have(launcher: str, changes: Changes, plan: tuple[str, str]) -> None:
    name, trainer = plan
    (found,) = LAUNCHERS[launcher].find_unsupported(changed(run_of(name), changes), trainer)
    assert found.setting == ("--to" if launcher == "torchrun" else "accelerator")
    assert found.supported
    fitting, theirs = H100 if launcher != "gcp-tpu" else TPU
    assert list(LAUNCHERS[launcher].find_unsupported(run_of(fitting), theirs)) == []


def test_a_launcher_notes_what_it_does_otherwise() -> None:
    run = replace(run_of("dense"), tokens=10**15)
    assert "ends after 28 days" in " ".join(LAUNCHERS["sagemaker"].build_notes(run))
    assert list(LAUNCHERS["sagemaker"].build_notes(run_of("fsdp"))) == []
    assert "GKE chooses a slice by labels" in " ".join(LAUNCHERS["kubernetes"].build_notes(run_of("tpu")))
    placed = replace(run_of("fsdp"), hosts=("b", "a"))
    assert "hosts.txt" in " ".join(LAUNCHERS["kubernetes"].build_notes(placed))
    assert "- b\n                - a\n" in launched("kubernetes", placed, "torchtitan")


def test_what_is_to_be_filled_in_is_told() -> None:
    run, chosen = run_of("fsdp"), LAUNCHERS["sagemaker"]
    told = list(build_field_notes(run, chosen, {"role": "mine"}))
    assert ["BUCKET is a placeholder" in line for line in told].count(True) == 1
    assert not any("ROLE-ARN" in line for line in told)
    assert any("--with image=... sets another" in line for line in told)
