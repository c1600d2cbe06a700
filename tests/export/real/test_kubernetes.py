"""Kubernetes' objects, by its own schema."""

from pathlib import Path

import pytest
import yaml

from tests.export.plans import PLANS_BY_TRAINER, build_run, export_plan
from tests.export.real.needs import import_package

pytestmark = pytest.mark.export


@pytest.mark.parametrize("trainer", list(PLANS_BY_TRAINER))
def test_kubernetes_knows_every_field(trainer: str, tmp_path: Path) -> None:
    validate = import_package("kubernetes_validate")
    name = PLANS_BY_TRAINER[trainer][0]
    fields = ("--with", "claim=data", "--with", "namespace=train", "--with", "image=trainer:1")
    folder = export_plan(tmp_path, name, trainer, "--launcher", "kubernetes", *fields)
    objects = list(yaml.safe_load_all((folder / "kubernetes.yaml").read_text()))
    for entry in objects:
        validate.validate(entry, validate.latest_version(), strict=True)
    assert [entry["kind"] for entry in objects] == ["ConfigMap", "Service", "Job"]
    job = objects[-1]["spec"]
    assert job["completions"] == build_run(name).nodes
    assert objects[0]["data"]["train.sh"] == (folder / "train.sh").read_text()
