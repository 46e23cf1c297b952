"""What cannot be shared out is refused before anything is touched, each with what to do."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from batchproc.cluster import engine as cluster_engine
from batchproc.cluster.engine import Answer, ask_workers, examine
from batchproc.cluster.shared_run import refuse
from batchproc.cluster.shared_store import open_store
from batchproc.errors import UsageError

from .conftest import CLUSTER, MakeJob
from .engines import ThreadEngine

pytest.importorskip("publicsuffixlist", reason="the extra [dask] is not installed")
pytestmark = pytest.mark.extra


@pytest.mark.parametrize(
    ("cluster", "more", "told"),
    [
        ("[cluster]\n", "", "must name a scheduler, or the number of workers to start here"),
        (f"{CLUSTER}local = 2\n", "", "the one or the other"),
        (CLUSTER, "[origin]\n", "which others do not reach"),
        (CLUSTER, '[[transform.steps]]\nop = "unique"\n', "no worker sees them all"),
    ],
)
def test_what_cannot_be_shared_out(make_job: MakeJob, tmp_path: Path, cluster: str, more: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        refuse(make_job(cluster=cluster, more=more))

    assert not (tmp_path / "out").exists()


def test_stdin(make_job: MakeJob) -> None:
    with pytest.raises(UsageError, match="stdin can be read only once"):
        refuse(make_job(settings=["job.input=-"]))


def test_without_dask_the_install_line_is_told(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_engine, "find_spec", lambda _name: None)

    with pytest.raises(UsageError, match=r"pip install 'batchproc\[dask\]'"):
        refuse(make_job())


class OtherEngine(ThreadEngine):
    """Workers that differ from this machine."""

    def __init__(self, differ: Callable[[Answer], Any]) -> None:
        super().__init__(1)
        self._differ = differ

    def ask(self, question: Callable[[], Any], workers: Iterable[str]) -> Mapping[str, Any]:
        return {worker: self._differ(question()) for worker in workers}


def _other(kind: str, version: str) -> Callable[[Answer], Answer]:
    return lambda answer: replace(answer, versions={**answer.versions, kind: version})


@pytest.mark.parametrize(
    ("differ", "told"),
    [
        (_other("python", "3.9"), "python is 3.9, here 3"),
        (_other("batchproc", "0.0.1"), "batchproc is 0.0.1"),
        (_other("Pillow", "9.0"), "install the same Pillow everywhere"),
        (_other("resampler", "pillow 9.0"), "install the same cykooz-resizer"),
        (_other("steps", "1"), "its steps are other ones; put the module of your own step"),
        (lambda _answer: "ModuleNotFoundError: No module named 'batchproc'", "No module named 'batchproc'"),
        (lambda answer: replace(answer, trouble={"output": "/x: is not the output"}), "mounted at the same place"),
    ],
)
def test_a_worker_that_is_not_like_this_machine(
    make_job: MakeJob, tmp_path: Path, differ: Callable[[Answer], Any], told: str
) -> None:
    engine = OtherEngine(differ)

    with pytest.raises(UsageError, match=told) as caught:
        ask_workers(make_job().config, open_store(str(tmp_path)), engine, ["tcp://10.0.0.2:1"])

    assert "worker tcp://10.0.0.2:1" in str(caught.value)
    engine.close()


def test_a_worker_that_sees_another_output(make_job: MakeJob, tmp_path: Path) -> None:
    answer = examine(make_job().config, str(tmp_path / "elsewhere"), b"token")

    assert "is not the output that the driver sees" in answer.trouble["output"]


def test_nothing_of_the_questions_stays(make_job: MakeJob, tmp_path: Path) -> None:
    engine = ThreadEngine()

    answered = ask_workers(make_job().config, open_store(str(tmp_path / "store")), engine, engine.slots())

    assert set(engine.slots()) == set(answered)
    assert [] == [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    engine.close()


def test_the_output_of_one_machine(make_job: MakeJob, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/batchproc.db").touch()

    with pytest.raises(UsageError, match="holds what one machine made"):
        refuse(make_job())
