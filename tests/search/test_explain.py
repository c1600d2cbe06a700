"""A plan that does not belong to its cluster is refused with the wrong key."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from planner.documents.plan import PlanDocument
from planner.errors import InputError
from planner.studies.explain import check_plan_split
from tests.report.test_formats import STORED

DOCUMENT = msgspec.json.decode(STORED.read_bytes(), type=PlanDocument)
PLAN = DOCUMENT.plans[0]
SPLIT = PLAN.strategy
DEVICES, LAYERS = DOCUMENT.cluster.devices, DOCUMENT.model.layers


def test_a_plan_of_its_cluster_is_accepted() -> None:
    widest = replace(PLAN, strategy=replace(SPLIT, vpp=LAYERS + 2, ep=DEVICES, etp=SPLIT.tp))
    for plan in (PLAN, widest):
        assert check_plan_split(plan, DEVICES, LAYERS) is None


@pytest.mark.parametrize(
    ("split", "key", "value", "expected"),
    [
        (
            {"dp": SPLIT.dp + 1},
            "strategy",
            f"tp {SPLIT.tp} x pp {SPLIT.pp} x cp {SPLIT.cp} x dp {SPLIT.dp + 1}",
            f"degrees whose product is the {DEVICES:,} devices",
        ),
        ({"ep": DEVICES + 1}, "strategy.ep", DEVICES + 1, f"at most {DEVICES:,}"),
        ({"etp": SPLIT.tp + 1}, "strategy.etp", SPLIT.tp + 1, f"at most {SPLIT.tp}"),
        ({"vpp": LAYERS + 3}, "strategy.vpp", LAYERS + 3, f"at most {LAYERS + 2}"),
        ({"micro_batch": 10**6}, "strategy.micro_batch", 10**6, f"at most {PLAN.global_batch:,}"),
        ({"micro_batch": 7}, "strategy.micro_batch", 7, f"a divisor of {PLAN.global_batch:,} / dp {SPLIT.dp}"),
    ],
)
def test_an_error_in_a_split_is_reported_with_its_key(split, key, value, expected) -> None:
    with pytest.raises(InputError) as refused:
        check_plan_split(replace(PLAN, strategy=replace(SPLIT, **split)), DEVICES, LAYERS)
    assert (refused.value.key, refused.value.value, refused.value.expected) == (key, value, expected)


def test_an_unknown_order_is_reported_with_the_known_orders() -> None:
    with pytest.raises(InputError) as refused:
        check_plan_split(replace(PLAN, settings=replace(PLAN.settings, order="tp-pp")), DEVICES, LAYERS)
    assert (refused.value.key, refused.value.value) == ("settings.order", "tp-pp")
    assert "tp-cp-dp-pp" in refused.value.expected
