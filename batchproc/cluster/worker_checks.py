"""Before any work: whether every worker is able to do a part as this machine would, and what to do where one is not."""

import platform
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from uuid import uuid4

from msgspec import Struct

from batchproc.cluster.engine import Engine
from batchproc.cluster.plan import FOLDER
from batchproc.cluster.shared_store import Store, open_store
from batchproc.config import Config
from batchproc.errors import BatchprocError, Problem, UsageError
from batchproc.version import VERSION

PROBE = f"{FOLDER}/probe"


class Answer(Struct, frozen=True, kw_only=True):
    """What a worker has and sees. `trouble`: what keeps it from the work, by its kind."""

    versions: Mapping[str, str]
    trouble: Mapping[str, str]


HINTS = {
    "python": "run the workers with the same minor version of Python",
    "batchproc": "install the same version of batchproc on every worker",
    "Pillow": "install the same Pillow everywhere, or images differ between workers",
    "resampler": "install the same cykooz-resizer everywhere, or images differ between workers",
    "steps": "put the module of your own step where every worker sees it, the same file everywhere",
    "output": "give the output as a folder that every worker has mounted at the same place, or as a bucket",
}


def ask_workers(config: Config, store: Store, engine: Engine, workers: Collection[str]) -> Collection[str]:
    """Who of these workers has answered, and may work. Raises `UsageError` with every problem at once."""
    token = uuid4().hex.encode()
    store.replace(PROBE, token)
    question: Callable[[], Answer] = partial(examine, config, store.address, token)
    try:
        answers, own = engine.ask(question, workers), question()
    finally:
        store.remove(PROBE)
    problems = [problem for address, answer in answers.items() for problem in _problems(address, answer, own)]
    if problems:
        raise UsageError(problems)
    return answers.keys()


def examine(config: Config, address: str, token: bytes) -> Answer:
    """Looks around, on whichever machine."""
    trouble: dict[str, str] = {}
    versions = {
        "python": ".".join(platform.python_version_tuple()[:2]), "batchproc": VERSION, **_library_versions()
    }  # fmt: skip
    try:
        versions["steps"] = _steps_print(config)
    except BatchprocError as error:
        trouble["steps"] = str(error)
    try:
        _reach(open_store(address), token)
    except BatchprocError as error:
        trouble["output"] = str(error)
    return Answer(versions=versions, trouble=trouble)


def _library_versions() -> dict[str, str]:
    import PIL

    from batchproc.transform import resampler

    return {"Pillow": PIL.__version__, "resampler": resampler.problem() or resampler.engine()}


def _steps_print(config: Config) -> str:
    from batchproc.pipeline.opening import make_transform
    from batchproc.transform.plan import fingerprint
    from batchproc.transform.steps.table import build_steps

    steps = build_steps(config.transform.steps, search_path=config.paths.root)
    return fingerprint(make_transform(config, steps))


def _reach(store: Store, token: bytes) -> None:
    """Raises `BatchprocError` where the output is not the one that the driver sees, or cannot be written."""
    if store.get(PROBE) != token:
        raise BatchprocError(f"{store.address}: is not the output that the driver sees")
    own = f"{PROBE}-{uuid4().hex}"
    store.replace(own, token)
    store.remove(own)


def _problems(address: str, answer: Answer | str, own: Answer) -> Iterator[Problem]:
    where = f"worker {address}"
    if isinstance(answer, str):
        yield Problem(where=where, message=f"cannot be asked: {answer}; {HINTS['batchproc']}.")
        return
    for kind, text in answer.trouble.items():
        yield Problem(where=where, message=f"{text}; {HINTS[kind]}.")
    for kind, version in answer.versions.items():
        if version != own.versions.get(kind):
            here = own.versions.get(kind)
            what = "its steps are other ones" if kind == "steps" else f"{kind} is {version}, here {here}"
            yield Problem(where=where, message=f"{what}; {HINTS[kind]}.")
