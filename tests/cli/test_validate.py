"""`planner validate`: the forms of its answer, tables of a user, and their mistakes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from tests.cli.run import call, call_cached
from tests.sample import mark_full
from tests.schemas import validate_document
from tests.validation.tables import PUBLISHED, format_table, read_published_rows

IDS = [line["id"] for line in csv.DictReader(io.StringIO(PUBLISHED.read_text("utf-8")))][:6]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "mine.csv"
    path.write_text(format_table(*read_published_rows(*IDS)))
    return path


def test_every_row_of_a_users_table_is_reported_with_its_error(small: Path) -> None:
    document = json.loads(call("planner", "validate", "--runs", str(small), "--format", "json").stdout)
    assert [row["id"] for row in document["rows"]] == IDS
    schema = json.loads(call("planner", "schema", "validate").stdout)
    validate_document(document, schema)
    with pytest.raises(jsonschema.ValidationError):
        validate_document({**document, "extra": 1}, schema)
    assert all(
        row["error_pct"] == pytest.approx(100 * (row["predicted"] / row["measured"] - 1)) for row in document["rows"]
    )
    assert (
        document["rows"]
        == json.loads(call("planner", "validate", "--runs", str(small), "--format", "json").stdout)["rows"]
    )


@pytest.mark.parametrize("percent", mark_full(["3%", "3", "100%"], every=3))
def test_a_run_above_the_accepted_error_is_reported_in_every_form(small: Path, percent: str) -> None:
    def validate(form: str, *options: str) -> tuple[int, str, str]:
        done = call_cached("planner", "validate", "--runs", str(small), *options, "--format", form)
        return done.returncode, done.stdout, done.stderr

    free = json.loads(validate("json")[1])
    assert {row["met"] for row in free["rows"]} == {free["max_error_pct"]} == {None}
    assert any(abs(row["error_pct"]) > 3 for row in free["rows"])
    above = [row["id"] for row in free["rows"] if abs(row["error_pct"]) > float(percent.rstrip("%"))]
    code, text, err = validate("json", "--max-error", percent)
    assert code == (4 if above else 0)
    assert [line.removeprefix("error: ").partition(": ")[0] for line in err.splitlines()] == above
    assert [row["id"] for row in json.loads(text)["rows"] if not row["met"]] == above
    suite = ElementTree.fromstring(validate("junit", "--max-error", percent)[1])
    cases = list(suite.iter("testcase"))
    assert [case.get("name") for case in cases if case.find("failure") is not None] == above
    # the names stay, whatever the error and whatever is wanted
    assert [case.get("name") for case in cases] == IDS
    assert [case.get("name") for case in ElementTree.fromstring(validate("junit")[1]).iter("testcase")] == IDS
    met = {True: "yes", False: "no"}
    lines = list(csv.DictReader(io.StringIO(validate("csv", "--max-error", percent)[1])))
    assert [line["met"] for line in lines] == [met[name not in above] for name in IDS]
    for form in ("table", "markdown", "html"):
        assert validate(form, "--max-error", percent)[1].count("not met") == len(above)


@pytest.mark.parametrize("text", ["", "-5", "ten", "5%%", "nan", "2x"])
def test_a_wrong_percentage_is_reported(text: str) -> None:
    done = call("planner", "validate", "--max-error", text)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--max-error: not a percentage" in done.stderr


@pytest.mark.parametrize("form", ["table", "markdown"])
def test_people_get_every_source(small: Path, form: str) -> None:
    done = call("planner", "validate", "--runs", str(small), "--format", form)
    assert done.returncode == 0
    for source in {line["source"].split("/")[0] for line in read_published_rows(*IDS)}:
        assert source in done.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mine.csv"),
        ("id,model\n1,gpt\n", "mine.csv"),
    ],
)
def test_a_file_without_a_table_is_reported(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    done = call("planner", "validate", "--runs", str(path))
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_a_missing_table_is_reported(tmp_path: Path) -> None:
    done = call("planner", "validate", "--runs", str(tmp_path / "none.csv"))
    assert done.returncode == 2
    assert "none.csv" in done.stderr


def test_a_name_of_a_run_is_no_markup_and_no_control_character(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    (line,) = read_published_rows(IDS[0])
    path.write_text(format_table({**line, "id": "[a|b](http://x.org) \x1b[31m`c`"}))
    text = call("planner", "validate", "--runs", str(path), "--format", "markdown").stdout
    assert "\\[a\\|b\\](http:\\//x.org) \\\\x1b\\[31m\\`c\\`" in text
    assert "\x1b" not in call("planner", "validate", "--runs", str(path)).stdout


def test_a_table_of_which_every_row_is_skipped_is_bad_input(tmp_path: Path) -> None:
    (good,) = read_published_rows(IDS[0])
    cells = [("accelerator", "h1000"), ("layers", "many")]
    wrong = [good | {"id": f"bad-{name}", name: value} for name, value in cells]
    (tmp_path / "all.csv").write_text(format_table(*wrong))
    done = call("planner", "validate", "all.csv", "--format", "json", "-o", "errors.html", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert not (tmp_path / "errors.html").exists()
    assert "all.csv: no row can be predicted" in done.stderr
    for line, (name, value) in enumerate(cells, start=2):
        (reason,) = (text for text in done.stderr.splitlines() if text.startswith(f"line {line}: bad-{name}: "))
        assert value in reason
    # one row that can be predicted is enough
    (tmp_path / "one.csv").write_text(format_table(*wrong, good))
    assert call("planner", "validate", "one.csv", "--format", "json", cwd=tmp_path).returncode == 0
