"""Failures against simulation, against what papers report, and for what must hold whatever the figures."""

import heapq
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cluster.build.reliability import ReliabilityOverrides, resolve_reliability
from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model.presets import load_cluster_spec
from planner.cost.operations.failures import (
    CheckpointTimes,
    compute_checkpoint_steps,
    compute_checkpoint_times,
    compute_daly_interval_s,
    compute_job_mtbf_s,
    compute_nodes_in_repair,
    compute_shrunk_share,
    compute_stalled_share,
    compute_time_shares,
    compute_useful_share,
    compute_young_interval_s,
    find_optimal_spares,
)
from tests.sample import mark_full

MIN, HOUR, DAY = 60.0, 3600.0, 86400.0


def as_array(value: float) -> np.ndarray:
    return np.array([value])


def simulate_share(work: float, saved: CheckpointTimes, mtbf: float, restart: float, failures: int = 20_000) -> float:
    """Useful share of the time of a job that is run event by event."""
    random = np.random.default_rng(7)
    blocked, behind = float(saved.blocked_s[0]), float(saved.background_write_s[0])
    wall = useful = 0.0
    for _ in range(failures):
        life = random.exponential(mtbf)
        while life < restart:  # fails again before it is back
            wall += life
            life = random.exponential(mtbf)
        wall += life
        running, clock, snapshots = life - restart, 0.0, []
        while clock + work + blocked <= running:
            clock += work + blocked
            snapshots.append(clock)
        useful += work * sum(taken + behind <= running for taken in snapshots)
    return useful / wall


@pytest.mark.parametrize(
    ("work", "blocked", "behind", "mtbf", "restart"),
    [
        (200.0, 3.0, 0.0, 3 * HOUR, 600.0),
        (600.0, 60.0, 0.0, HOUR, 300.0),
        (900.0, 300.0, 0.0, 15 * MIN, 600.0),
        (300.0, 1.0, 200.0, HOUR, 0.0),
        (120.0, 5.0, 110.0, 20 * MIN, 400.0),
    ],
)
def test_the_useful_share_equals_that_of_a_simulation(
    work: float, blocked: float, behind: float, mtbf: float, restart: float
) -> None:
    saved = CheckpointTimes(as_array(blocked), as_array(behind), as_array(0.0))
    share = float(compute_useful_share(as_array(work), saved, as_array(mtbf), as_array(restart))[0])
    assert share == pytest.approx(simulate_share(work, saved, mtbf, restart), rel=0.02)


def simulate_wait(nodes: int, spares: int, mtbf: float, repair: float, *, fixed: bool, waits: bool) -> list[float]:
    """Share of the time with so many nodes more out than there are spares; repair times fixed or exponential."""
    random = np.random.default_rng(11)
    now, back, seen = 0.0, [], np.zeros(nodes + 1)
    for _ in range(150_000):
        short = max(len(back) - spares, 0)
        stopped = waits and short > 0
        failure = np.inf if stopped else now + random.exponential(mtbf / nodes)
        then = min(failure, back[0] if back else np.inf)
        seen[short] += then - now
        now = then
        if then == failure:
            heapq.heappush(back, now + (repair if fixed else random.exponential(repair)))
        else:
            heapq.heappop(back)
    return list(seen / now)


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("spares", mark_full([2, 0, 4], every=3))
def test_the_share_waiting_for_repair_equals_that_of_a_simulation(spares: int, fixed: bool) -> None:
    load = compute_nodes_in_repair(
        as_array(50), as_array(400), device_mtbf_s=800 * DAY, node_mtbf_s=100 * DAY, repair_s=2 * DAY
    )
    assert load[0] == pytest.approx(2.0)
    shares = simulate_wait(50, spares, 50 * DAY, 2 * DAY, fixed=fixed, waits=True)
    assert compute_stalled_share(load, spares)[0] == pytest.approx(1.0 - shares[0], rel=0.06)


def test_the_lost_share_of_a_shrinking_job_equals_that_of_a_simulation() -> None:
    shares = simulate_wait(50, 2, 50 * DAY, 2 * DAY, fixed=True, waits=False)
    lost = sum(probability * -(-short // 5) * 5 / 50 for short, probability in enumerate(shares))
    assert compute_shrunk_share(as_array(2.0), 2, as_array(50.0), as_array(5.0))[0] == pytest.approx(lost, rel=0.05)


@pytest.mark.parametrize(("mtbf", "minutes"), [(24 * HOUR, 117), (6 * HOUR, 57), (15 * MIN, 9.1)])
def test_dalys_own_examples(mtbf: float, minutes: float) -> None:
    # captions of figures 3 to 5 of the paper: a dump of 5 min
    assert compute_daly_interval_s(as_array(5 * MIN), as_array(mtbf))[0] / MIN == pytest.approx(minutes, rel=0.006)


def test_failures_and_goodput_of_llama_3_are_reproduced() -> None:
    # arXiv 2407.21783, section 3.3: 419 unexpected interruptions in 54 days on 16,384 H100, over 90 % effective
    cluster = resolve_cluster(load_cluster_spec("dgx-h100"), "", nodes=2048)
    known = resolve_reliability(cluster, ReliabilityOverrides({}))
    mtbf = compute_job_mtbf_s(
        as_array(16384),
        as_array(2048),
        device_mtbf_s=known.device_mtbf_s,
        node_mtbf_s=known.node_mtbf_s,
        software_mtbf_s=known.software_mtbf_s,
    )
    assert 54 * DAY / mtbf[0] == pytest.approx(419, rel=1e-3)
    state, writers = 405e9 * 14, 16384
    assert 1e6 < state / writers < 4e9  # as the paper says of a GPU's part
    saved = compute_checkpoint_times(
        as_array(state),
        as_array(writers),
        write_bytes_per_s=known.write_bytes_per_s,
        read_bytes_per_s=known.read_bytes_per_s,
        link_bytes_per_s=6e10,
        uplink_bytes_per_s=5e10,
        pause_s=known.pause_s,
        asynchronous=False,
    )
    steps = compute_checkpoint_steps(as_array(5.6), saved, mtbf)
    left = compute_time_shares(
        steps * 5.6,
        saved,
        mtbf,
        detection_s=known.detection_s,
        restart_s=known.restart_s,
        available=as_array(1.0),
    )
    assert 0.90 < left.goodput[0] < 0.95


def compute_rsc_share(gpus: float, per_thousand_days: float, interval: float, restart: float) -> float:
    """Our effective share where checkpoints do not block, as arXiv 2410.21680 assumes."""
    mtbf = 1000 * DAY / per_thousand_days / (gpus / 8)
    saved = CheckpointTimes(as_array(0.0), as_array(0.0), as_array(0.0))
    return float(compute_useful_share(as_array(interval), saved, as_array(mtbf), as_array(restart))[0])


def test_the_figures_of_metas_research_clusters_are_reproduced() -> None:
    # arXiv 2410.21680: mean time to failure of 16,384 and 131,072 GPUs at RSC-1's rate of 6.50
    for gpus, hours in ((16_384, 1.8), (131_072, 0.23)):
        mtbf = compute_job_mtbf_s(
            as_array(gpus),
            as_array(gpus / 8),
            device_mtbf_s=np.inf,
            node_mtbf_s=DAY * 1000 / 6.5,
            software_mtbf_s=np.inf,
        )
        assert mtbf[0] / HOUR == pytest.approx(hours, rel=0.03)
    # runs of 2,048 to 4,096 GPUs: over 0.9 with a checkpoint an hour, restarts of 5 min
    assert compute_rsc_share(2048, 6.5, HOUR, 5 * MIN) > 0.9
    assert compute_rsc_share(4096, 6.5, HOUR, 5 * MIN) > 0.9
    # 100,000 GPUs at RSC-2's rate of 2.34: 0.9 needs about 2 min for both
    assert 0.9 < compute_rsc_share(100_000, 2.34, 2 * MIN, 2 * MIN) < 0.95
    assert compute_rsc_share(100_000, 2.34, 4 * MIN, 4 * MIN) < 0.9


def test_a_100_cluster_fails_about_as_often_as_others_report() -> None:
    # OPT-175B (arXiv 2205.01068, section 2.5): 35 manual and over 70 automatic restarts in two months, 992 A100;
    # MegaScale (arXiv 2402.15627, section 6.2): over 100 in several weeks on more than 10,000: a factor of two off
    known = resolve_reliability(
        resolve_cluster(load_cluster_spec("dgx-a100"), "", nodes=124), ReliabilityOverrides({})
    )
    rates = (known.device_mtbf_s, known.node_mtbf_s, known.software_mtbf_s)
    stops = {
        gpus: DAY * sum(count / mtbf for count, mtbf in zip((gpus, gpus / 8, gpus / 8), rates, strict=True))
        for gpus in (992, 10_000)
    }
    assert 0.4 < 60 * stops[992] / 105 < 1.0
    assert 1.0 < 21 * stops[10_000] / 100 < 2.5


@given(st.floats(0.01, 600.0), st.floats(0.0, 300.0), st.floats(0.0, 1200.0), st.floats(900.0, 1e7))
def test_meta_s_formula_is_ours_to_first_order(blocked: float, work: float, restart: float, mtbf: float) -> None:
    # their E[ETTR] = (1 - N r (u + dt/2)) / (1 + w/dt), from notes on the paper; second order in the time at risk
    interval = work + 10.0 * blocked
    saved = CheckpointTimes(as_array(blocked), as_array(0.0), as_array(0.0))
    theirs = (1.0 - (restart + interval / 2) / mtbf) / (1.0 + blocked / interval)
    ours = float(compute_useful_share(as_array(interval), saved, as_array(mtbf), as_array(restart))[0])
    risk = (restart + interval + blocked) / mtbf
    assert abs(ours - theirs) <= risk**2 + blocked / mtbf


Figure = tuple[float, float, float, float, float]
figures = st.tuples(
    st.floats(0.01, 1e4), st.floats(0.0, 1e4), st.floats(0.0, 1e4), st.floats(1.0, 1e9), st.floats(0.001, 1e3)
)


@given(figures, st.floats(0.0, 1e4), st.floats(0.0, 1e4), st.floats(0.0, 1.0))
def test_shares_of_the_time_add_up(figure: Figure, detection: float, restart: float, available: float) -> None:
    blocked, behind, load, mtbf, step = figure
    saved = CheckpointTimes(as_array(blocked), as_array(behind), as_array(load))
    work = compute_checkpoint_steps(as_array(step), saved, as_array(mtbf)) * step
    shares = compute_time_shares(
        work, saved, as_array(mtbf), detection_s=detection, restart_s=restart, available=as_array(available)
    )
    values = [float(getattr(shares, name)[0]) for name in shares.__dataclass_fields__]
    assert all(0.0 <= value <= 1.0 for value in values)
    assert sum(values) == pytest.approx(1.0, abs=1e-9)


@given(figures)
def test_no_interval_is_much_better_than_the_reported_interval(
    figure: Figure,
) -> None:
    blocked, _, load, mtbf, step = figure
    saved = CheckpointTimes(as_array(blocked), as_array(0.0), as_array(load))
    steps = float(compute_checkpoint_steps(as_array(step), saved, as_array(mtbf))[0])
    assert steps >= 1.0 and steps == int(steps)
    tried = np.maximum(np.round(steps * np.geomspace(0.01, 100.0, 401)), 1.0) * step
    shares = compute_useful_share(tried, saved, np.full_like(tried, mtbf), np.zeros_like(tried))
    share = float(compute_useful_share(as_array(steps * step), saved, as_array(mtbf), as_array(0.0))[0])
    # Daly's series is worst where a checkpoint takes twice the time between failures: 0.13 % there
    assert share >= float(shares.max()) * (1.0 - 2e-3) - 1e-12


def test_young_and_daly_agree_where_checkpoints_are_short() -> None:
    assert compute_daly_interval_s(as_array(1.0), as_array(1e8))[0] == pytest.approx(
        compute_young_interval_s(as_array(1.0), as_array(1e8))[0], rel=1e-3
    )


def test_an_asynchronous_checkpoint_is_written_before_the_next_begins() -> None:
    saved = CheckpointTimes(as_array(1.0), as_array(500.0), as_array(0.0))
    assert compute_checkpoint_steps(as_array(7.0), saved, as_array(HOUR))[0] * 7.0 + 1.0 >= 500.0


@given(st.floats(1e-6, 60.0), st.integers(1, 3000))
def test_spares_help_ever_less_and_as_many_pay_as_are_reported(load: float, nodes: int) -> None:
    spare_count = int(find_optimal_spares(as_array(load), as_array(nodes))[0])
    there = [1.0 - float(compute_stalled_share(as_array(load), spares)[0]) for spares in range(spare_count + 3)]
    assert all(later >= earlier for earlier, later in pairwise(there))
    gain = [share / (nodes + spares) for spares, share in enumerate(there)]
    assert max(gain) <= gain[spare_count] * (1 + 1e-12)
    shrunk = float(compute_shrunk_share(as_array(load), spare_count, as_array(nodes), as_array(1.0))[0])
    assert 0.0 <= shrunk <= 1.0


def test_jobs_of_an_array_get_the_figures_of_each_alone() -> None:
    devices = np.array([8.0, 1024.0, 131_072.0])
    nodes, step = devices / 8, np.array([1.0, 3.0, 9.0])
    rates = {"device_mtbf_s": 9e7, "node_mtbf_s": 9e7, "software_mtbf_s": 9e7}
    mtbf = compute_job_mtbf_s(devices, nodes, **rates)
    saved = CheckpointTimes(np.full(3, 4.0), np.full(3, 60.0), np.full(3, 30.0))
    load = compute_nodes_in_repair(nodes, devices, device_mtbf_s=9e7, node_mtbf_s=9e7, repair_s=DAY)
    steps, paying, stalled = (
        compute_checkpoint_steps(step, saved, mtbf),
        find_optimal_spares(load, nodes),
        compute_stalled_share(load, 3),
    )
    for i in range(3):
        alone = CheckpointTimes(
            saved.blocked_s[i : i + 1], saved.background_write_s[i : i + 1], saved.load_s[i : i + 1]
        )
        assert steps[i] == compute_checkpoint_steps(step[i : i + 1], alone, mtbf[i : i + 1])[0]
        assert paying[i] == find_optimal_spares(load[i : i + 1], nodes[i : i + 1])[0]
        assert stalled[i] == compute_stalled_share(load[i : i + 1], 3)[0]
