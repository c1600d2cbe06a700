"""Kubernetes' objects, by its own schema."""

from pathlib import Path

import pytest
import yaml

from tests.export.plans import OF, exported, run_of
from tests.export.real.needs import package

pytestmark = pytest.mark.export


@pytest.mark.parametrize("trainer", list(OF))
def test_kubernetes_knows_every_field(trainer: str, tmp_path: Path) -> None:
    validate = package("kubernetes_validate")
    name = OF[trainer][0]
    fields = ("--with", "claim=data", "--with", "namespace=train", "--with", "image=trainer:1")
    folder = exported(tmp_path, name, trainer, "--launcher", "kubernetes", *fields)
    objects = list(yaml.safe_load_all((folder / "kubernetes.yaml").read_text()))
    for one in objects:
        validate.validate(one, validate.latest_version(), strict=True)
    assert [one["kind"] for one in objects] == ["ConfigMap", "Service", "Job"]
    job = objects[-1]["spec"]
    assert job["completions"] == run_of(name).nodes
    assert objects[0]["data"]["train.sh"] == (folder / "train.sh").read_text()
