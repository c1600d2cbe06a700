"""The cost model's fullest moment is that of torchtitan's own step, kind by kind."""

from dataclasses import fields

import pytest

from tests.real.fsdp_tracker import Peak
from tests.real.pipeline_steps import run_pipeline_step
from tests.real.planned_peak import compute_planned_peak
from tests.real.torchtitan_steps import Step, run_step

pytestmark = pytest.mark.real


def name_step(step: Step) -> str:
    """What differs from the default."""
    values = ((field.name, getattr(step, field.name), field.default) for field in fields(step))
    return ",".join(f"{name}={value}" for name, value, default in values if value != default) or "default"


def check_peak(step: Step, peaks: dict[str, Peak]) -> None:
    """The peak and each kind, within 1 % of the peak."""
    peak = max(peaks.values(), key=lambda peak: peak.total_bytes)
    sizes = peak.kind_bytes
    real = {kind: float(sizes[kind]) for kind in ("weights", "gradients", "states")}
    real["others"] = float(sizes["activations"] + sizes["tables"])
    planned, moment = compute_planned_peak(step)
    tolerance_bytes = 0.01 * peak.total_bytes
    assert planned == pytest.approx(real, abs=tolerance_bytes), moment
    assert sum(planned.values()) == pytest.approx(peak.total_bytes, abs=tolerance_bytes), moment


@pytest.mark.parametrize(
    "step",
    [
        Step(),
        Step(recompute="selective"),
        Step(recompute="none"),
        Step(loss="plain"),
        Step(loss="plain", reshard="always"),
        Step(reshard="never"),
        Step(micro_batches=2),
        # the head's own gradient is more than the logits
        Step(loss="plain", seq_length=1024, ranks=64),
    ],
    ids=name_step,
)
def test_all_layers_on_a_rank(step: Step) -> None:
    check_peak(step, run_step(step))


@pytest.mark.parametrize(
    "step",
    [
        Step(layers=6, ranks=32, pp=4, stage=1, micro_batches=4),
        Step(ranks=16, pp=2, stage=0, micro_batches=2),
        Step(ranks=16, pp=2, stage=1, micro_batches=2),
        Step(ranks=16, pp=2, stage=1, micro_batches=2, loss="plain"),
    ],
    ids=name_step,
)
def test_a_stage(step: Step) -> None:
    check_peak(step, run_pipeline_step(step))
