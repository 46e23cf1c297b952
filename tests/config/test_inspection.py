"""The config from outside: without secrets, as a schema, and with advice; and the starter that `init` writes."""

import json
import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from batchproc.config import Config, json_schema, load, outdated_schema, resolved, unwise

JOB = '[job]\nname = "test"\ninput = "urls.txt"\noutput = "out"\n'
TEMPLATES = files("batchproc") / "templates"


def _config(folder: Path, *overrides: str) -> Config:
    path = folder / "job.toml"
    path.write_text(JOB)
    return load(path, overrides=overrides, environ={})


def test_resolved_config_is_json_with_absolute_paths(tmp_path: Path) -> None:
    shown = resolved(_config(tmp_path, "download.connect_timeout=2m", "bench.rounds=3"))

    assert shown == json.loads(json.dumps(shown))
    assert str(tmp_path / "out") == shown["job"]["output"]
    assert 120.0 == shown["download"]["connect_timeout"]
    assert "origin" not in shown


def test_resolved_config_has_no_secret(tmp_path: Path) -> None:
    overrides = [
        "download.headers.Authorization=hunter2",
        "download.headers.X-Api-Key=hunter2",
        'download.headers.Cookie="a=hunter2"',
        "download.headers.Accept=image/jpeg",
        "download.proxy=http://user:hunter2@proxy:3128",
        "job.base_url=https://a.example/?token=hunter2",
        'transform.steps=[{op = "mine:step", api_key = "hunter2", url = "http://u:hunter2@h/"}]',
        'bench.vary={"download.proxy" = ["http://u:hunter2@h/"], "metrics.ping_url" = ["https://h/hunter2"]}',
    ]

    shown = resolved(_config(tmp_path, *overrides))

    assert "hunter2" not in json.dumps(shown)
    assert {"***"} == set(shown["download"]["headers"].values())
    assert "http://***@proxy:3128" == shown["download"]["proxy"]
    assert "url" == shown["job"]["url_column"]


def _keys(schema: dict[str, Any]) -> dict[str, Any]:
    tables = {name.removesuffix("Table").lower(): table for name, table in schema["$defs"].items() if "Table" in name}
    return {f"{table}.{key}": entry for table in tables for key, entry in tables[table]["properties"].items()}


def test_schema_describes_every_key() -> None:
    schema = json_schema()

    assert "https://json-schema.org/draft/2020-12/schema" == schema["$schema"]
    assert ["job"] == schema["required"]
    assert len(_keys(schema)) > 60
    assert [] == [key for key, entry in _keys(schema).items() if not entry.get("description")]


def test_schema_has_defaults_ranges_and_patterns() -> None:
    keys = _keys(json_schema())

    assert "1h30m" == _match(keys["download.total_timeout"], "1h30m")
    assert "32MiB" == _match(keys["download.max_bytes"], "32MiB")
    assert (60.0, 32_000_000) == tuple(keys[f"download.{key}"]["default"] for key in ("total_timeout", "max_bytes"))
    assert "" == _match(keys["download.max_bytes"], "32 megabytes")
    assert (1, 1024) == (keys["download.per_host"]["minimum"], keys["download.per_host"]["maximum"])
    assert ["fast", "balanced", "exact"] == keys["transform.quality"]["enum"]


def _match(entry: dict[str, Any], text: str) -> str:
    (pattern,) = [choice["pattern"] for choice in entry["anyOf"] if "pattern" in choice]
    return text if re.search(pattern, text) else ""


def test_schema_takes_that_of_the_steps() -> None:
    schema = json_schema({"type": "object", "required": ["op"]})

    assert ["op"] == schema["$defs"]["Step"]["required"]
    assert {"$ref": "#/$defs/Step"} == _keys(schema)["transform.steps"]["items"]


@pytest.mark.parametrize(
    ("says", "overrides"),
    [
        ("per_host = 8 with 32 workers and 1 host: at most 8", []),
        ("workers = 9 with 2 cores", ["transform.workers=9"]),
        ("timeout and memory_limit do not hold in thread mode", ["transform.mode=thread"]),
        ("100 OS processes", ["download.mode=process", "download.workers=100"]),
        ("total_timeout is shorter", ["download.total_timeout=10s"]),
        ("max_bytes is larger than buffer", ["download.buffer=1MB"]),
        ("the proxy resolves names", ["download.proxy=http://proxy:3128"]),
        ("allows every address", ['download.allow_addresses=["0.0.0.0/0"]']),
        ("exit code is 0 even when every image fails", ["job.max_failed_ratio=1"]),
        ("exit_on_limit without max_duration", ["job.exit_on_limit=true"]),
        ("quality has no effect on png", ["output.format=png", "output.quality=50"]),
    ],
)
def test_unwise_settings_are_named(tmp_path: Path, says: str, overrides: list[str]) -> None:
    assert any(says in hint for hint in unwise(_config(tmp_path, *overrides), 2, hosts=1))


def test_sensible_settings_get_no_hint(tmp_path: Path) -> None:
    assert [] == unwise(_config(tmp_path), 2, hosts=4)
    assert [] == unwise(_config(tmp_path), 2)
    assert [] == unwise(_config(tmp_path, "download.mode=serial"), 2, hosts=1)


def test_the_starter_is_valid_and_its_list_is_beside_it(tmp_path: Path) -> None:
    for name in ("job.toml", "urls.txt"):
        (tmp_path / name).write_text((TEMPLATES / name).read_text(encoding="utf-8"), encoding="utf-8")

    config = load(tmp_path / "job.toml", environ={})

    assert Path(*config.paths.inputs).exists()
    assert [] == unwise(config, 2)


def test_what_the_starter_comments_out_is_valid_too(tmp_path: Path) -> None:
    lines = (TEMPLATES / "job.toml").read_text(encoding="utf-8").splitlines()
    active = [line.removeprefix("# ") if line.startswith("# ") and " = " in line else line for line in lines]
    path = tmp_path / "job.toml"
    path.write_text("\n".join(active), encoding="utf-8")

    assert len(tomllib.loads("\n".join(lines))["job"]) < len(tomllib.loads("\n".join(active))["job"])
    assert "my-job" == load(path, environ={}).job.name


@pytest.mark.parametrize(
    ("is_stale", "schema"),
    [
        pytest.param(False, json.dumps(json_schema()), id="of-this-version"),
        pytest.param(True, json.dumps({**json_schema(), "version": "0.0.9"}), id="of-another-version"),
        pytest.param(True, json.dumps({"title": "batchproc config"}), id="of-an-early-version"),
        pytest.param(False, json.dumps({"title": "another"}), id="not-ours"),
        pytest.param(False, "[1", id="no-json"),
        pytest.param(False, None, id="missing"),
    ],
)
def test_a_schema_that_another_version_wrote_for_editors_is_found(
    tmp_path: Path, is_stale: bool, schema: str | None
) -> None:
    text = '[job]\nname = "a"\ninput = "a.txt"\noutput = "o"\n'
    (tmp_path / "job.toml").write_text(f"#:schema job.schema.json\n{text}")
    (tmp_path / "plain.toml").write_text(text)
    if schema is not None:
        (tmp_path / "job.schema.json").write_text(schema)

    found = outdated_schema(load(tmp_path / "job.toml", environ={}))

    assert (str(tmp_path / "job.schema.json") if is_stale else "") == found
    assert "" == outdated_schema(load(tmp_path / "plain.toml", environ={}))
