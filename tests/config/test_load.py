"""A config is read with its layers, and everything wrong with it is told at once in the user's words."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from batchproc.config import Config, load
from batchproc.config.load import read_value
from batchproc.errors import ExitCode, Problem, UsageError
from batchproc.origin.site import demo_list

Write = Callable[..., Path]

JOB = '[job]\nname = "test"\ninput = "urls.txt"\noutput = "out"\n'
DEMO = Path(__file__).parents[2] / "configs" / "demo.toml"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_config(text: str = "", job: str = JOB) -> Path:
        path = tmp_path / "job.toml"
        path.write_text(job + text, encoding="utf-8")
        return path

    return write_config


def _problems(path: Path, **options: Any) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load(path, **{"environ": {}, **options})
    assert ExitCode.USAGE == caught.value.exit_code
    return [str(problem).replace(str(path), "job.toml") for problem in caught.value.problems]


def _load(path: Path, *overrides: str, **environ: str) -> Config:
    return load(path, overrides=overrides, environ=environ)


def test_defaults_are_those_of_the_contract(write: Write) -> None:
    config = load(write(), environ={})

    assert ("thread", 32, 8) == (config.download.mode, config.download.workers, config.download.per_host)
    assert ("process", "auto", ()) == (config.transform.mode, config.transform.workers, config.transform.steps)
    assert (5.0, 900.0, 1000, 32_000_000) == (
        config.download.connect_timeout,
        config.download.max_retry_after,
        config.download.min_speed,
        config.download.max_bytes,
    )
    assert (None, None) == (config.origin, config.bench)
    assert config.download.user_agent.startswith("batchproc/")
    assert "{" not in config.download.user_agent


def test_the_demo_is_valid() -> None:
    config = load(DEMO, environ={})

    assert DEMO.parents[1] == config.paths.root
    assert config.origin is not None
    assert ["min_size", "resize", "unsharp"] == [step["op"] for step in config.transform.steps]


def test_the_list_of_the_demo_is_what_its_origin_serves() -> None:
    config = load(DEMO, environ={})

    assert config.origin is not None
    assert demo_list(config.origin.images, config.origin.seed) == Path(*config.paths.inputs).read_text(encoding="utf-8")


def test_a_host_has_a_table_of_its_own_under_its_name_in_ascii(write: Write) -> None:
    text = '[download.hosts."Bücher.example"]\nper_host = 2\n[download.hosts."*.a.org:8443"]\n'
    config = load(write(text), environ={})

    assert {"xn--bcher-kva.example": 2, "*.a.org:8443": 0} == {
        pattern: host.per_host for pattern, host in config.download.hosts.items()
    }


@pytest.mark.parametrize("pattern", ["a b", "http://a.org", "a.org:", "a.org:70000", "a.*.org", ""])
def test_what_is_no_host_is_refused_by_name(write: Write, pattern: str) -> None:
    (problem,) = _problems(write(f'[download.hosts."{pattern}"]\nheaders = {{X-Key = "hidden"}}\n'))

    assert "a host is written" in problem
    assert "hidden" not in problem


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, '"250ms"'), (5.0, '"5s"'), (120.0, '"2m"'), (5400.0, '"1h30m"'), (1.5, "1.5"), (7.0, "7"), (0.5, '"0.5s"'),
     (90.0, '"90"'), (1.5, '"1.5"')],
)  # fmt: skip
def test_durations_are_seconds(write: Write, seconds: float, text: str) -> None:
    assert seconds == load(write(f"[transform]\ntimeout = {text}\n"), environ={}).transform.timeout


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(32_000_000, '"32MB"'), (33_554_432, '"32MiB"'), (1500, '"1.5kB"'), (2000, '"2 KB"'), (4096, "4096"),
     (4096, '"4096"')],
)  # fmt: skip
def test_sizes_are_bytes(write: Write, size_bytes: int, text: str) -> None:
    assert size_bytes == load(write(f"[download]\nmax_bytes = {text}\n"), environ={}).download.max_bytes


def test_flags_beat_environment_beats_file_beats_default(write: Write) -> None:
    path = write("[download]\nworkers = 2\nretries = 2\nper_host = 2\n")

    config = _load(
        path, "download.workers=4", BATCHPROC_DOWNLOAD__WORKERS="3", BATCHPROC_DOWNLOAD__RETRIES="3", BATCHPROC_HOME="x"
    )

    assert (4, 3, 2) == (config.download.workers, config.download.retries, config.download.per_host)


def test_values_of_flags_are_toml_or_else_text(write: Write) -> None:
    config = _load(
        write('[[transform.steps]]\nop = "blur"\nradius = 1\n'),
        "output.format=png",
        'download.allow_addresses=["127.0.0.0/8"]',
        "download.headers.X-Test=yes",
        "transform.steps.0.radius=2.5",
        'bench.vary={"transform.workers" = [1, 2]}',
        "job.output=a=b # c",
        "download.retries=1",
        "download.retries=0",
    )

    assert "png" == config.output.format
    assert ("127.0.0.0/8",) == config.download.allow_addresses
    assert {"X-Test": "yes"} == config.download.headers
    assert 2.5 == config.transform.steps[0]["radius"]
    assert config.bench is not None
    assert {"transform.workers": [1, 2]} == config.bench.vary
    assert "a=b # c" == config.job.output
    assert 0 == config.download.retries


def test_a_value_cannot_smuggle_in_another_key() -> None:
    assert "1\nworkers = 2" == read_value("1\nworkers = 2")


def test_paths_are_absolute_whatever_the_working_directory(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write('root = ".."\n[metrics]\n[origin]\nphotos = "pictures"\n')
    monkeypatch.chdir(tmp_path)
    config = _load(Path("job.toml"), f"job.output={tmp_path / 'elsewhere'}")
    monkeypatch.chdir("/")

    paths = config.paths

    assert (path, tmp_path.parent) == (paths.config, paths.root)
    assert (str(tmp_path.parent / "urls.txt"),) == paths.inputs
    assert tmp_path / "elsewhere" == paths.output
    assert tmp_path.parent / "pictures" == paths.photos
    assert (None, None) == (paths.bench_photos, paths.textfile)


def test_paths_do_not_follow_links(write: Write, tmp_path: Path) -> None:
    path = write()
    (tmp_path / "mounted").mkdir()
    link = tmp_path / "mounted" / "job.toml"
    link.symlink_to(path)

    assert tmp_path / "mounted" == load(link, environ={}).paths.root


def test_dash_stays_stdin(write: Write) -> None:
    assert ("-",) == _load(write(), "job.input=-").paths.inputs


def test_what_is_to_be_found_out_begins_in_threads_for_waiting_and_processes_for_computing(write: Write) -> None:
    config = _load(write(), "download.mode=auto", "transform.mode=auto")
    fixed = _load(write(), "download.mode=process", "transform.mode=serial")

    assert (config.download.first_mode, config.transform.first_mode) == ("thread", "process")
    assert (fixed.download.first_mode, fixed.transform.first_mode) == ("process", "serial")


def test_download_workers_of_auto_are_the_most_that_may_work(write: Write) -> None:
    download = _load(write(), "download.workers=auto").download
    fixed = _load(write(), "download.workers=5").download

    assert [download.worker_count(mode, 3) for mode in ("serial", "thread", "process")] == [1, 64, 12]
    assert [fixed.worker_count(mode, 3) for mode in ("serial", "thread", "process")] == [1, 5, 5]


def test_worker_count_of_auto_and_zero_is_the_cores(write: Write) -> None:
    counts = [_load(write(), f"transform.workers={value}").transform.worker_count(3) for value in ("auto", 0, 5)]

    assert [3, 3, 5] == counts


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("job.toml [transform] workers = -1: must be 0 (one per core, here 2) or more.", "[transform]\nworkers = -1"),
        ('job.toml [download] workers = 0: must be a whole number from 1 to 1024,', "[download]\nworkers = 0"),
        ("job.toml [download] per_host = 0: must be from 1 to 1024.", "[download]\nper_host = 0"),
        ("job.toml [download] retries = 1.5: must be a whole number.", "[download]\nretries = 1.5"),
        ("job.toml [download] retries = true: must be a whole number.", "[download]\nretries = true"),
        ('job.toml [download] retries = "3": must be a whole number.', '[download]\nretries = "3"'),
        ("job.toml [report] html = 1: must be true or false.", "[report]\nhtml = 1"),
        ("job.toml [transform] timeout = 0.0: must be more than 0.", "[transform]\ntimeout = 0.0"),
        (
            'job.toml [transform] timeout = "5 sec": must be a duration as "250ms", "5s", "2m" or "1h30m", '
            "or a number of seconds.",
            '[transform]\ntimeout = "5 sec"',
        ),
        ("job.toml [transform] timeout = NaN: must be a duration", "[transform]\ntimeout = nan"),
        ('job.toml [download] max_bytes = "9ZB": must be a size as "32MB"', '[download]\nmax_bytes = "9ZB"'),
        (f'job.toml [download] max_bytes = "{"9" * 40}', f'[download]\nmax_bytes = "{"9" * 400}TB"'),
        ('job.toml [download] max_bytes = "1.5": must be a size', '[download]\nmax_bytes = "1.5"'),
        ('job.toml [download] buffer = "1KB": must be 1MB or more.', '[download]\nbuffer = "1KB"'),
        ('job.toml [download] wrokers: no such key; did you mean workers?', "[download]\nwrokers = 3"),
        ("job.toml [transform] per_host: no such key; did you mean [download] per_host?", "[transform]\nper_host = 3"),
        ("job.toml [report] xyz: no such key; the keys of [report] are html, sampling, trace, gallery.",
         "[report]\nxyz = 3"),
        ("job.toml [tranform]: no such table; did you mean [transform]?", "[tranform]\nx = 1"),
        ("job.toml [xyz]: no such table; the tables are [job],", "[xyz]\nx = 1"),
        ('job.toml [output] format = "jpg": must be "jpeg", "png", "webp", "avif" or "keep"; did you mean "jpeg"?',
         '[output]\nformat = "jpg"'),
        ('job.toml [download] mode = "fork": must be "serial", "thread", "process" or "auto".',
         '[download]\nmode = "fork"'),
        ('job.toml [output] background = "white": must be a colour as "#ffffff".', '[output]\nbackground = "white"'),
        ('job.toml [download] allow_addresses.0 = "10/8": must be an address or a network',
         '[download]\nallow_addresses = ["10/8"]'),
        ('job.toml [download] headers: "A B" is no header name', '[download]\nheaders = {"A B" = "x"}'),
        ('job.toml [download] headers: the value of "A" must be one line', '[download]\nheaders = {A = "x\\ny"}'),
        ("job.toml [transform] formats = []: must have at least one entry.", "[transform]\nformats = []"),
        ('job.toml [transform] formats.0 = "jpg": must be "jpeg",', '[transform]\nformats = ["jpg"]'),
        ("job.toml [transform] steps[0] = 5: must be a table.", "[transform]\nsteps = [5]"),
        ("job.toml [transform] steps[0].when", '[[transform.steps]]\nop = "x"\nwhen = 2026-01-01'),
        ("job.toml output = [{", '[[output]]\nformat = "jpeg"'),
        ("job.toml [bench] vary.download.worker: no such key; did you mean download.workers?",
         '[bench]\nvary = {"download.worker" = [1]}'),
    ],
)  # fmt: skip
def test_problem_says_where_what_and_what_is_allowed(write: Write, expected: str, text: str) -> None:
    (problem,) = _problems(write(text), cores=2)

    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("expected", "job"),
    [
        ("job.toml [job]: this table is required, with the keys name, input, output.", ""),
        ('job.toml [job] name: is required, as name = "nightly".', JOB.replace('name = "test"\n', "")),
        ("job.toml name: stands in no table; did you mean [job] name?", f'name = "x"\n{JOB}'),
        ('job.toml [job] name = "": must not be empty.', JOB.replace("test", "")),
        ("job.toml [job] name = 5: must be a text in quotes.", JOB.replace('"test"', "5")),
        ('job.toml [job] name = "a\\\\nb": must be one line', JOB.replace("test", "a\\nb")),
        ('job.toml [job] input = "urls.xml": must end in .txt,', JOB.replace("urls.txt", "urls.xml")),
    ],
)
def test_problem_with_the_job_table(write: Write, expected: str, job: str) -> None:
    (problem,) = _problems(write(job=job))

    assert problem.replace("\\n", "\\\\n").startswith(expected)


def test_every_problem_is_told_at_once(write: Write) -> None:
    text = """
[download]\nworkers = 0\nkeep_originals = true\n[output]\nlayout = "parquet"
[transform]\nmode = "x"\n[xyz]\n[[transform.steps]]\nop = "nope"
"""

    problems = _problems(
        write(text),
        overrides=["download.per_host=0", "nonsense"],
        environ={"BATCHPROC_JOB__GRACE": "soon"},
        check_steps=lambda steps: [Problem(where="[transform] steps[0]", message=f"{steps[0]['op']}: no such step.")],
    )

    beginnings = [
        "--set nonsense: must be KEY=VALUE",
        'BATCHPROC_JOB__GRACE = "soon": must be a duration',
        "job.toml [download] workers = 0: must be",
        "--set download.per_host = 0: must be from 1",
        'job.toml [transform] mode = "x": must be',
        "job.toml [xyz]: no such table",
        'job.toml [download] keep_originals = true: must be false with layout = "parquet": shards',
        "job.toml [transform] steps[0]: nope: no such step.",
    ]
    assert beginnings == [problem[: len(start)] for problem, start in zip(problems, beginnings, strict=True)]


@pytest.mark.parametrize(
    ("expected", "overrides", "environ"),
    [
        ("--set download.worker: no such key; did you mean download.workers?", ["download.worker=3"], {}),
        ("--set download.workers = -2: must be", ["download.workers=-2"], {}),
        ("--set download.headers.A = ***: must be a text in quotes.", ["download.headers.A=1"], {}),
        ("--set download.workers.x: \"workers\" is not a table.", ["download.workers=1", "download.workers.x=1"], {}),
        ("--set workers: must be KEY=VALUE", ["workers=3"], {}),
        ("--set transform.steps.0.op: \"steps\" is not", ["transform.steps=x", "transform.steps.0.op=x"], {}),
        ("BATCHPROC_DOWNLOAD__WORKER: no such key; did you mean BATCHPROC_DOWNLOAD__WORKERS?", [],
         {"BATCHPROC_DOWNLOAD__WORKER": "3"}),
        ("BATCHPROC_DOWNLOD__WORKERS: no such table; did you mean BATCHPROC_DOWNLOAD__WORKERS?", [],
         {"BATCHPROC_DOWNLOD__WORKERS": "3"}),
        ('BATCHPROC_DOWNLOAD__WORKERS = "many": must be', [], {"BATCHPROC_DOWNLOAD__WORKERS": "many"}),
    ],
)  # fmt: skip
def test_problem_names_the_layer_the_value_came_from(
    write: Write, expected: str, overrides: Sequence[str], environ: Mapping[str, str]
) -> None:
    problems = _problems(write(), overrides=overrides, environ=environ)

    assert problems[0].startswith(expected)


@pytest.mark.parametrize(
    "text",
    [
        '[download]\nproxy = "http://user:hunter2@"',
        '[download]\nheaders = {Authorization = ["hunter2"]}',
        '[metrics]\nping_url = "hc.example/hunter2"',
        '[job]\nbase_url = "ftp://a/?token=hunter2"\nname = "a"\ninput = "a.txt"\noutput = "b"',
    ],
)
def test_problem_never_shows_a_secret(write: Write, text: str) -> None:
    (problem,) = _problems(write(text, job="" if "[job]" in text else JOB))

    assert "***" in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("where", "override"),
    [
        ("job.toml [transform] steps[0]", "transform.steps.0.op=nope"),
        ("--set transform.steps [transform] steps[0]", 'transform.steps=[{op = "nope"}]'),
    ],
    ids=["one key", "all steps"],
)
def test_problem_of_a_step_names_the_layer_of_the_steps(write: Write, where: str, override: str) -> None:
    path = write('[[transform.steps]]\nop = "blur"\n')

    problems = _problems(
        path, overrides=[override], check_steps=lambda steps: [Problem(where="[transform] steps[0]", message="no.")]
    )

    assert [f"{where}: no."] == problems


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        ("{train = 0.9, test = 0.2}", "adds up to 1.1: the shares must add up to 1."),
        ('{"a/b" = 1.0}', 'the name "a/b"'),
    ],
)
def test_splits_are_names_with_shares_that_add_up(write: Write, splits: str, says: str) -> None:
    (problem,) = _problems(write(), overrides=[f"output.splits={splits}"])

    assert says in problem


def test_features_are_accepted_when_off(write: Write) -> None:
    text = '[output]\nlayout = "files"\n[metrics]\ntextfile = ""\nping_url = ""\n[report]\ntrace = false\n'

    config = load(write(f"prune = false\n{text}"), environ={})

    assert ("files", "", False) == (config.output.layout, config.metrics.textfile, config.job.prune)


@pytest.mark.parametrize(
    ("says", "content"),
    [
        ("is not valid TOML at line 2, column 5: invalid value.", b"[job]\nx = =\n"),
        ("is not valid TOML at ", b"[job\n"),
        ("is not UTF-8 at line 2 (byte 0xe9)", b"[job]\n# caf\xe9\n"),
        ("is UTF-16; save it as UTF-8.", "[job]".encode("utf-16")),
        ("is larger than 4 MB", b"http://a.com/\n" * 300_000),
    ],
    ids=["value", "table", "latin-1", "utf-16", "a list"],
)
def test_file_that_is_no_config_is_refused(tmp_path: Path, says: str, content: bytes) -> None:
    path = tmp_path / "job.toml"
    path.write_bytes(content)

    (problem,) = _problems(path)

    assert says in problem


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    assert ["job.toml: no such file; `batchproc init` writes a starter config."] == _problems(tmp_path / "job.toml")
    assert _problems(tmp_path)[0].endswith("is a folder; name the config file in it.")


def test_byte_order_mark_of_an_editor_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(f"\ufeff{JOB}", encoding="utf-8")

    assert "test" == load(path, environ={}).job.name


def test_config_cannot_be_changed(write: Write) -> None:
    config = load(write(), environ={})

    with pytest.raises(ValueError, match="frozen"):
        config.download.workers = 3


@pytest.mark.parametrize(
    ("delimiter", "text"), [("", '""'), (";", '";"'), ("\t", '"\\t"'), ("\t", "'\\t'"), ("\t", '"tab"')]
)
def test_a_delimiter_is_one_character(write: Write, delimiter: str, text: str) -> None:
    assert delimiter == load(write(job=f"{JOB}delimiter = {text}\n"), environ={}).job.delimiter


@pytest.mark.parametrize("text", ['"||"', '"\\""', '"x"', '"\\n"'])
def test_what_can_be_no_delimiter_is_refused(write: Write, text: str) -> None:
    (problem,) = _problems(write(job=f"{JOB}delimiter = {text}\n"))

    assert 'must be one character as ",", ";", "|" or "\\t"' in problem


def test_how_tables_are_quoted_is_a_closed_set_of_words(write: Write) -> None:
    problems = _problems(write(job=f'{JOB}quoting = "single"\n'))

    assert 1 == len(problems)
    assert "double" in problems[0]
