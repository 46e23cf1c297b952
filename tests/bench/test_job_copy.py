"""The job that all cases share: the user's config, without what would disturb or differ."""

import os
import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchproc.bench.dataset import child_environment, toml_text, toml_value, write_job_file
from batchproc.cli import load_job
from tests.jobs import MakeJob

TEXT = st.text(st.characters(blacklist_categories=["Cs"]))
SCALARS = TEXT | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(value=VALUES)
def test_every_value_is_read_back_from_its_toml(value: object) -> None:
    assert {"key": value} == tomllib.loads(f"key = {toml_value(value)}")


def test_tables_are_read_back_from_their_toml() -> None:
    tables = {"job": {"name": 'a "b"\n', "ratio": 0.1}, "transform": {"steps": [{"op": "resize", "size": [1, 2]}]}}

    assert tables == tomllib.loads(toml_text(tables))


def test_the_job_keeps_the_work_and_drops_what_would_disturb(make_job: MakeJob, tmp_path: Path) -> None:
    source = make_job()
    more = '[origin]\nimages = 5\n[metrics]\ntextfile = "m.prom"\n[bench]\nrounds = 3\n'
    source.write_text(source.read_text() + more)
    changes = ['download.headers={"X-Api-Key"="geheim"}', 'download.hosts={"a.org"={headers={X-Key="geheim"}}}',
                'download.client_key="geheim.pem"', "job.max_failed=1", "job.exit_on_limit=true"]
    original, steps = load_job(source, changes)
    path = tmp_path / "bench.toml"

    write_job_file(path, original, items=tmp_path / "items.txt", base_url="http://127.0.0.1:9/", per_host=17)

    written, written_steps = load_job(path, ())
    assert steps == written_steps
    assert original.transform == written.transform
    assert original.output == written.output
    assert (None, None, "") == (written.origin, written.bench, written.metrics.textfile)
    assert (1.0, 0, False) == (written.job.max_failed_ratio, written.job.max_failed, written.job.exit_on_limit)
    assert (17, original.download.workers) == (written.download.per_host, written.download.workers)
    assert (False, False, 0) == (written.report.html, written.report.trace, written.report.gallery)
    assert (str(tmp_path / "items.txt"),) == written.paths.inputs
    assert original.paths.root == written.paths.root
    assert "geheim" not in path.read_text()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_columns_of_the_list_are_not_asked_of_items_that_have_none(make_job: MakeJob, tmp_path: Path) -> None:
    changes = ['job.columns={caption = "TEXT"}', "output.caption=caption", "output.layout=webdataset"]
    original, _ = load_job(make_job(), changes)
    path = tmp_path / "bench.toml"

    write_job_file(path, original, items=tmp_path / "items.txt", base_url="http://127.0.0.1:9/", per_host=1)

    written, _ = load_job(path, ())
    assert ({}, "", "webdataset") == (written.job.columns, written.output.caption, written.output.layout)


def test_the_configs_variables_are_not_laid_over_the_job_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHPROC_DOWNLOAD__WORKERS", "3")
    monkeypatch.setenv("BATCHPROC_HOME", "x")

    environment = child_environment()

    assert {"BATCHPROC_DOWNLOAD__WORKERS"} == set(os.environ) - set(environment)
