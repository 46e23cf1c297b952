"""The fingerprints of what decides failures: they change with the value and with nothing else, and hide it."""

from pathlib import Path

import pytest

from batchproc.config import Config, deciding_values
from batchproc.config.inspection import STEPS
from batchproc.kinds import DECIDING_KEYS
from batchproc.version import VERSION

JOB = {"job": {"name": "small", "input": "list.txt", "output": "out"}}


def config(**tables: object) -> Config:
    return Config.from_tables(JOB | tables, file=Path("job.toml"), cores=2)


def changed(one: Config, other: Config) -> list[str]:
    before, after = deciding_values(one, []), deciding_values(other, [])
    return [key for key in before if before[key] != after[key]]


def test_every_key_that_decides_a_failure_has_its_fingerprint() -> None:
    assert sorted(DECIDING_KEYS) == sorted(deciding_values(config(), []))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("allow_addresses", ["10.0.0.0/8"]),
        ("max_bytes", "64MB"),
        ("headers", {"Authorization": "Bearer 1"}),
        ("robots", "ignore"),
        ("first_byte_timeout", "30s"),
        ("hosts", {"img.test": {"headers": {"Authorization": "Bearer 1"}}}),
    ],
)
def test_a_changed_value_changes_its_fingerprint_alone(key: str, value: object) -> None:
    assert [f"download.{key}"] == changed(config(), config(download={key: value}))


def test_the_order_of_addresses_and_formats_decides_nothing() -> None:
    one = config(download={"allow_addresses": ["10.0.0.0/8", "::1"]}, transform={"formats": ["jpeg", "png"]})
    other = config(download={"allow_addresses": ["::1", "10.0.0.0/8"]}, transform={"formats": ["png", "jpeg"]})

    assert [] == changed(one, other)


def test_an_update_of_the_program_is_no_change_of_its_user_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    before = deciding_values(config(download={}))
    for module in ("tables", "inspection"):
        monkeypatch.setattr(f"batchproc.config.{module}.VERSION", f"{VERSION}.1")

    assert f"batchproc/{VERSION}.1" == config(download={}).download.user_agent
    assert before == deciding_values(config(download={}))


def test_no_value_can_be_read_from_its_fingerprint() -> None:
    values = deciding_values(config(download={"headers": {"Authorization": "Bearer 1"}}))

    assert {16} == {len(value) for value in values.values()}
    assert "Bearer" not in str(values)


def test_steps_that_are_not_known_are_left_out() -> None:
    assert STEPS not in deciding_values(config())
    assert deciding_values(config(), [{"op": "a"}])[STEPS] != deciding_values(config(), [{"op": "b"}])[STEPS]
