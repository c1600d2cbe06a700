"""Changes of a cluster; a what-if agrees with the search and the cost model."""

from dataclasses import replace

import numpy as np
import pytest

from planner.cluster.model.cluster import Cluster
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.step import compute_step_costs
from planner.documents.what_if import WhatIfDocument
from planner.errors import InputError, NothingFits
from planner.search.search import SearchTarget, search_plans
from planner.search.space import Space
from planner.studies.changes import (
    HARDWARE_SCALES,
    apply_cluster_change,
    apply_option_change,
    build_cluster_figures,
    check_change_key,
    parse_changes,
    rebind_scenario,
)
from planner.studies.what_if import WhatIfSide, compute_elasticity, compute_what_if
from tests.examples import lab, lab_scenario, tiny
from tests.sample import mark_full


def change_cluster(cluster: Cluster, key: str, text: str) -> Cluster:
    return apply_cluster_change(cluster, key, text, "bf16")[0]


def build_side(cluster: Cluster, batch: int = 32, **pins: int) -> WhatIfSide:
    scenario = lab_scenario(cluster=cluster, batch=batch)
    allowed = {name: (value,) for name, value in pins.items()}
    return WhatIfSide((scenario,), cluster, Space(cluster.devices, batch, allowed))


def compare_change(before: WhatIfSide, key: str, text: str) -> WhatIfDocument:
    cluster, change = apply_cluster_change(before.cluster, key, text, "bf16")
    return compute_what_if(before, before.rebind_cluster(cluster), [change])


@pytest.mark.parametrize(
    ("key", "text", "named"),
    [
        ("accelerator.memory", "80GiB", {"memory": 80}),
        ("accelerator.memory", "+50%", {"memory": 60}),
        ("accelerator.memory_bandwidth", "2x", {"hbm": 4000}),
        ("accelerator.peak", "0.5x", {"tflops": 150}),
        ("accelerator.peak.bf16", "600TFLOP/s", {"tflops": 600}),
        ("node.link.bandwidth", "150GB/s", {"link": 150}),
        ("node.link.latency", "-50%", {"alpha": 1.5}),
        ("fabric.bandwidth", "800Gb/s", {"nic": 800}),
        ("fabric.bandwidth", "2x", {"nic": 400}),
    ],
)
def test_a_changed_cluster_equals_a_cluster_built_with_that_figure(
    key: str, text: str, named: dict[str, float]
) -> None:
    scenario, cluster = lab_scenario(), change_cluster(lab(oversubscription=2.0), key, text)
    other = lab(oversubscription=2.0, **named)
    moved, direct = rebind_scenario(scenario, cluster), build_scenario(scenario.workload, other, global_batch=32)
    assert moved.accelerator == direct.accelerator
    assert moved.runtime_reserve_bytes == direct.runtime_reserve_bytes
    np.testing.assert_allclose(moved.network.bandwidth_bytes_per_s, direct.network.bandwidth_bytes_per_s, rtol=1e-12)
    np.testing.assert_allclose(moved.network.latency_s, direct.network.latency_s, rtol=1e-12)


@pytest.mark.parametrize("key", build_cluster_figures(lab(), "bf16"))
def test_every_figure_reads_back_the_value_written_and_changes_no_other(key: str) -> None:
    figure = build_cluster_figures(lab(), "bf16")[key]
    written = figure.write(lab(), 1.5e3)
    assert figure.read(written) == pytest.approx(1.5e3)
    old = figure.read(lab())
    if old:
        assert figure.write(lab(), old) == lab()


def test_no_cluster_is_changed_in_place() -> None:
    cluster = lab()
    for key in build_cluster_figures(cluster, "bf16"):
        build_cluster_figures(cluster, "bf16")[key].write(cluster, 1.0)
    assert cluster == lab()


def test_an_unchanged_cluster_gives_the_same_scenario() -> None:
    scenario, cluster = lab_scenario(), lab()
    same = rebind_scenario(scenario, cluster)
    assert replace(same, network=scenario.network) == scenario


@pytest.mark.parametrize("name", HARDWARE_SCALES)
def test_scaling_by_a_factor_of_1_keeps_the_cluster(name: str) -> None:
    assert HARDWARE_SCALES[name](lab(), 1.0) == lab()


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("accelerator.memory", "-100%", "above zero"),
        ("accelerator.memory", "80", "without a unit"),
        ("accelerator.memory", "20%", "such as 141GiB"),
        ("accelerator.memory", "2PB/s", "a factor such as 2x"),
        ("fabric.bandwidth", "100PB/s", "from 1MB/s to 50PB/s"),
        ("accelerator.price", "2x", "an amount such as 2.5USD"),
        ("accelerator.power", "+10%", "current value is not known"),
    ],
)
def test_an_invalid_value_is_reported(key: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        change_cluster(lab(), key, text)
    assert error.value.key == key
    assert error.value.value == text


def test_an_unknown_key_is_reported_with_the_nearest_key() -> None:
    with pytest.raises(InputError, match=r"did you mean fabric\.spine\.bandwidth"):
        check_change_key("fabric.spin.bandwidth", lab(nodes=8), "bf16")
    with pytest.raises(InputError, match="no such figure"):
        check_change_key("fabric.bandwidth", lab(nodes=1), "bf16")


def test_pairs_are_read_in_order_and_once_each() -> None:
    assert parse_changes(["a=1", "b = 2x"]) == [("a", "1"), ("b", "2x")]
    with pytest.raises(InputError, match="twice"):
        parse_changes(["a=1", "a=2"])
    with pytest.raises(InputError, match="KEY=VALUE"):
        parse_changes(["a"])


def test_whole_numbers_stay_whole() -> None:
    assert apply_option_change("cluster.nodes", "1.5x", 8) == "12"
    assert apply_option_change("cluster.nodes", "7", 8) == "7"
    with pytest.raises(InputError, match="whole number"):
        apply_option_change("cluster.nodes", "+10%", 8)


def compute_best_step_time_s(scenario: Scenario, space: Space) -> float:
    return float(compute_step_costs(scenario, search_plans(scenario, space, SearchTarget(top=1)).best).step_time_s[0])


@pytest.mark.parametrize(
    ("key", "text"),
    mark_full([("accelerator.memory", "0.08x"), ("fabric.bandwidth", "0.05x"), ("accelerator.peak", "4x")], every=3),
)
def test_both_sides_are_results_of_the_search(key: str, text: str) -> None:
    before = build_side(lab())
    document = compare_change(before, key, text)
    moved = before.rebind_cluster(change_cluster(before.cluster, key, text))
    assert document.before.plan.step_time_s == compute_best_step_time_s(before.scenarios[0], before.space)
    assert document.after.plan.step_time_s == compute_best_step_time_s(moved.scenarios[0], moved.space)
    if document.kept.plan is not None:
        assert document.kept.regret is not None
        assert document.kept.regret >= 0
        kept = document.kept.plan
        assert kept.step_time_s / document.after.plan.step_time_s - 1 == document.kept.regret
        assert kept.strategy == document.before.plan.strategy
        assert document.same_plan == (document.kept.regret == 0)
    assert sum(document.difference.terms.values()) == pytest.approx(document.difference.step_time_s, abs=1e-9)


def test_a_plan_that_no_longer_fits_is_reported() -> None:
    document = compare_change(build_side(lab(), batch=256), "accelerator.memory", "0.07x")
    assert document.kept.plan is None
    assert document.kept.regret is None
    assert "does not fit" in document.kept.obstacle


def test_more_nodes_give_the_old_plan_a_wider_data_parallelism() -> None:
    before, after = (build_side(lab(nodes=nodes), batch=64, micro_batch=1) for nodes in (2, 4))
    document = compute_what_if(before, after, [])
    assert document.kept.plan is not None
    assert document.kept.plan.strategy.dp == 2 * document.before.plan.strategy.dp
    fewer = compute_what_if(build_side(lab(nodes=4), batch=64, tp=8), build_side(lab(nodes=3), batch=48), [])
    assert fewer.kept.plan is None
    assert fewer.kept.obstacle


def test_where_no_plan_fits_the_side_is_named() -> None:
    with pytest.raises(NothingFits, match="with the changes, no plan fits"):
        compare_change(build_side(lab()), "accelerator.memory", "1.6GiB")


def test_elasticities_are_the_slopes_of_the_step() -> None:
    scenario, cluster = lab_scenario(tiny(hidden_size=2048, ffn_size=8192)), lab(nodes=4)
    plans = search_plans(scenario, Space(16, 32, {"tp": (8,)}), SearchTarget(top=3)).best
    base = compute_step_costs(scenario, plans).step_time_s
    total = np.zeros(len(plans))
    for name in ("peak", "memory_bandwidth", "link_bandwidth", "network_bandwidth"):
        slope = compute_elasticity(scenario, cluster, plans, name)
        faster = compute_step_costs(
            rebind_scenario(scenario, HARDWARE_SCALES[name](cluster, 1.001)), plans
        ).step_time_s
        np.testing.assert_allclose(slope, np.log(faster / base) / np.log(1.001), atol=2e-3)
        assert (slope <= 0).all()
        total += slope
    for name in ("link_latency", "network_latency"):
        slope = compute_elasticity(scenario, cluster, plans, name)
        assert (slope >= 0).all()
        total -= slope
    # with all of them faster at once only launches and fixed overhead keep their time
    assert ((total > -1.0 - 1e-3) & (total < -0.05)).all()


def test_host_figures_are_listed_only_with_offloading() -> None:
    names = [
        elasticity.figure for elasticity in compare_change(build_side(lab()), "accelerator.peak", "2x").elasticities
    ]
    assert names == [
        "peak",
        "memory_bandwidth",
        "link_bandwidth",
        "network_bandwidth",
        "link_latency",
        "network_latency",
    ]
