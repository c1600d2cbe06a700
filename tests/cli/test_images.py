"""Models that are no language models, from the command line: reported in images, on every type of accelerator."""

import json
from pathlib import Path

import pytest

from planner.documents.plan import PlanDocument
from tests.cli.run import call
from tests.sample import mark_full
from tests.schemas import validate_document
from tests.validation.test_throughput import CLUSTER
from tests.workload.test_network import GOOD

ON = ("--cluster", "dgx-a100", "--nodes", "1", "--global-batch", "1024")


def run_plan(*arguments: str) -> dict[str, object]:
    done = call("plan", *arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    document: dict[str, object] = json.loads(done.stdout)
    return document


def test_samples_and_tokens_are_both_in_the_document() -> None:
    for name, tokens in (("resnet-50", 1), ("vit-b-16", 197)):
        document = run_plan(name, *ON)
        assert document["model"]["sample"] == "image"
        first = document["plans"][0]
        assert first["samples_per_s"] == pytest.approx(1024 / first["step_time_s"])
        assert first["tokens_per_s"] == pytest.approx(tokens * first["samples_per_s"])
        assert first["samples_per_s_per_device"] == pytest.approx(first["samples_per_s"] / 8)
    assert run_plan("llama-3-8b", *ON)["model"]["sample"] == "sequence"
    schema = json.dumps(PlanDocument.build_json_schema())
    assert "samples_per_s_per_device" in schema


def test_reports_count_images() -> None:
    done = call("plan", "resnet-50", *ON, "--tokens", "90M")
    assert "images/s" in done.stdout
    assert "1,024 images, bf16, ddp" in done.stdout
    assert "90M images: 87,891 steps" in done.stdout
    assert "token" not in done.stdout
    assert "attention" not in done.stdout
    cost = call("plan", "vit-b-16", *ON, "--objective", "cost")
    assert "USD/M images" in cost.stdout
    changed = call("planner", "what-if", "resnet-50", *ON, "--set", "accelerator.memory_bandwidth=2x")
    assert "images/s a device" in changed.stdout
    assert "more images a second" in changed.stdout


@pytest.mark.full
def test_heterogeneous_plans_count_images(tmp_path: Path) -> None:
    arguments = ("vit-b-16", "--cluster", "dgx-h100:1+dgx-a100:1", "--global-batch", "512", "--tokens", "197M")
    files = {form: tmp_path / f"plan.{form}" for form in ("md", "html", "json")}
    done = call("plan", *arguments, *(word for file in files.values() for word in ("-o", str(file))))
    for form, text in (("table", done.stdout), *((form, files[form].read_text()) for form in ("md", "html"))):
        for part in ("images/s", "512 images, bf16", "1M images: 1,954 steps", "layers, images"):
            assert part in text, form
        assert "token" not in text, form
        assert "sequence" not in text, form
    document = json.loads(files["json"].read_text())
    validate_document(document, json.loads(call("planner", "schema", "mixed").stdout))
    for plan in document["ways"]:
        assert plan["samples_per_s"] == pytest.approx(512 / plan["step_time_s"])
        assert plan["tokens_per_s"] == pytest.approx(197 * plan["samples_per_s"])
        devices = plan["samples_per_s"] / plan["samples_per_s_per_device"]
        assert devices == pytest.approx(8 if plan["way"] == "only" else 16)


def test_sizes_and_comparisons_count_images_without_chinchilla() -> None:
    arguments = ("vit-b-16", "--tokens", "19.7B")
    size = call("planner", "size", *arguments, "--cluster", "dgx-h100", "--deadline", "1d")
    assert "100M images in 24,415 steps of 4,096 images, memory limit 90%, within 1 day" in size.stdout
    side = call("planner", "compare", *arguments, "--on", "dgx-h100:1")
    assert "images/USD" in side.stdout
    assert "images/J" in side.stdout
    for text in (size.stdout, side.stdout):
        assert "token" not in text
        assert "Chinchilla" not in text
    wide = json.loads(call("planner", "compare", *arguments, "--on", "dgx-h100:1", "--format", "json").stdout)
    per_usd = wide["offers"][0]["size"]["tokens_per_usd"] / 197
    assert f"{per_usd / 1e6:.3g}M" in side.stdout
    result = json.loads(
        call("planner", "size", *arguments, "--cluster", "dgx-h100", "--deadline", "1d", "-f", "json").stdout
    )
    validate_document(result, json.loads(call("planner", "schema", "size").stdout))
    assert result["compute_optimal"] is None


@pytest.mark.parametrize("name", mark_full(["resnet-50", "inception-v3", "wavenet", "vit-b-16"], every=3))
def test_every_family_runs_replicated_sharded_and_in_stages(name: str) -> None:
    batch = ("--global-batch", "64")
    for pins in (("--dp", "8", "--zero", "0"), ("--zero", "3", "--trainer", "fsdp2"), ("--pp", "4", "--vpp", "1")):
        done = call("plan", name, "--cluster", "dgx-a100", "--nodes", "1", *batch, *pins)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("accelerator", mark_full(["xeon-8480plus", "tpu-v3", "v100-sxm2-16gb"], every=3))
def test_every_type_of_accelerator_trains_them(accelerator: str, tmp_path: Path) -> None:
    file = tmp_path / "cluster.toml"
    file.write_text(CLUSTER.format(accelerator=accelerator, devices=2))
    for name in ("resnet-50", "vit-b-16"):
        done = call("plan", name, "--cluster", str(file), "--global-batch", "64")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (("resnet-50", "--tp", "2"), ["--tp", "value:    2", "expected: 1", "cannot be sharded"]),
        (("resnet-50", "--cp", "2"), ["--cp", "expected: 1", "cannot be sharded"]),
        (("resnet-50", "--pp", "32"), ["--pp", "at most 16 layers"]),
        (("resnet-50", "--seq-length", "512"), ["--seq-length", "no sequence"]),
        (("vit-b-16", "--seq-length", "512"), ["--seq-length", "no sequence"]),
        (("restnet-50",), ["did you mean resnet-50?"]),
        (("resnet-50", "--attention", "unfused"), ["--attention: resnet-50 has no attention", "left out"]),
    ],
)
def test_unsupported_options_are_reported(options: tuple[str, ...], messages: list[str]) -> None:
    done = call("plan", *options, *ON)
    assert done.returncode == 2
    for part in messages:
        assert part in done.stderr


def test_gradients_of_fp16_are_reported_as_such() -> None:
    arguments = ("resnet-50", "--cluster", "dgx-v100", "--nodes", "1", "--global-batch", "512")
    assert "fp16 gradients, sent in fp16" in call("plan", *arguments).stdout
    assert "bf16" not in call("plan", *arguments, "--gradients", "bf16,fp32").stdout
    assert "bf16 " not in call("planner", "what-if", *arguments, "--set", "accelerator.peak=2x").stdout


def test_an_indivisible_batch_is_reported_in_images() -> None:
    done = call("plan", "resnet-50", "--cluster", "dgx-a100", "--nodes", "1", "--global-batch", "1023", "--pp", "1")
    assert done.returncode == 2
    assert "1024 or 1016 images" in done.stderr


def test_a_list_of_operators_is_recognised_by_its_keys(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(GOOD)
    assert run_plan(str(file), *ON)["model"]["layers"] == 2
    file.write_text(GOOD.replace('"max_pool"', '"maxpool"'))
    done = call("plan", str(file), *ON)
    assert done.returncode == 2
    assert f"{file}: stem.operators[1].op: unknown operator" in done.stderr
    assert "did you mean max_pool?" in done.stderr


def test_the_list_of_models_names_the_samples_of_a_batch() -> None:
    lines = {line.split()[0]: line for line in call("planner", "models", "list").stdout.splitlines() if line.strip()}
    assert lines["resnet-50"].split()[-1] == "image"
    assert lines["wavenet"].split()[-1] == "clip"
    assert lines["llama-3-8b"].split()[-1] == "8,192"
