"""Real servers, each with a generated config in a temporary folder, on a port of loopback, ended with its block."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 10.0
END_SECONDS = 10.0
SBIN = ("/usr/sbin", "/usr/local/sbin")


class Missing(Exception):
    """A program that is not installed here: the case is skipped."""


def find(program: str) -> str:
    """The path of a program. Raises `Missing`."""
    path = shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", ""), *SBIN)))
    if path is None:
        raise Missing(f"{program} is not installed")
    return path


def free_port() -> int:
    """A port that nobody listens on for now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str], folder: Path, port: int) -> Iterator[int]:
    """Runs a server in the foreground until the block is left; yields its port once somebody listens there."""
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _await(port, process, folder)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(END_SECONDS)


def _await(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    said = (folder / "server.log").read_text(errors="replace")
    raise RuntimeError(f"{process.args!r} does not listen on {port}:\n{said}")


@contextmanager
def apache(folder: Path, site: Path, *, workers: int) -> Iterator[int]:
    """Apache with its prefork module: a process for each of at most `workers` connections, idle ones included."""
    program, port = find("apache2"), free_port()
    modules = Path("/usr/lib/apache2/modules")
    lines = [
        f"Listen 127.0.0.1:{port}",
        "ServerName localhost",
        f"PidFile {folder}/apache.pid",
        f"ErrorLog {folder}/error.log",
        f"LoadModule mpm_prefork_module {modules}/mod_mpm_prefork.so",
        f"LoadModule authz_core_module {modules}/mod_authz_core.so",
        f"StartServers {workers}",
        f"ServerLimit {workers}",
        f"MaxRequestWorkers {workers}",
        f"DocumentRoot {site}",
        *(["User www-data", "Group www-data"] if os.geteuid() == 0 else []),
    ]
    config = folder / "apache.conf"
    config.write_text("\n".join(lines) + "\n")
    with running([program, "-d", str(folder), "-f", str(config), "-DFOREGROUND"], folder, port):
        yield port


@contextmanager
def nginx(
    folder: Path, site: Path, *, http: str = "", server: str = "", addresses: Sequence[str] = ("127.0.0.1",)
) -> Iterator[int]:
    """nginx with further directives for its `http` and `server` blocks; `access.log` has a connection number a line."""
    program, port = find("nginx"), free_port()
    listen = "".join(f"listen {address}:{port}; " for address in {"127.0.0.1", *addresses})
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(f"""
        daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
        {"user www-data;" if os.geteuid() == 0 else ""}
        events {{ worker_connections 2048; }}
        http {{
            types {{ image/jpeg jpg; }}
            {temporary} log_format numbered '$connection $status $uri'; access_log {folder}/access.log numbered;
            {http}
            server {{ {listen} root {site}; {server} }}
        }}
    """)
    with running([program, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")], folder, port):
        yield port


@contextmanager
def haproxy(folder: Path, picture: Path, *, options: str) -> Iterator[int]:
    """HAProxy that answers each .jpg with the same picture by itself; `options` are of its front end."""
    program, port = find("haproxy"), free_port()
    config = folder / "haproxy.cfg"
    config.write_text(f"""
global
    tune.bufsize 262144
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
frontend pictures
    bind 127.0.0.1:{port}
    {options}
    http-request return status 200 content-type image/jpeg file {picture} if {{ path_end .jpg }}
    http-request return status 404
""")
    with running([program, "-db", "-f", str(config)], folder, port):
        yield port


NODE = """
const fs = require('fs'), http = require('http'), path = require('path');
const [port, site, options] = [+process.argv[2], process.argv[3], JSON.parse(process.argv[4])];
const server = http.createServer((request, response) => {
  fs.readFile(path.join(site, path.basename(request.url.split('?')[0])), (error, body) => {
    response.writeHead(error ? 404 : 200, {'Content-Type': 'image/jpeg'});
    response.end(error ? '' : body);
  });
});
Object.assign(server, options);
server.listen(port, '127.0.0.1');
"""


@contextmanager
def node(folder: Path, site: Path, *, options: str = "{}") -> Iterator[int]:
    """A small server on node's own `http`; `options` are properties of its server, as JSON."""
    program, port = find("node"), free_port()
    script = folder / "server.js"
    script.write_text(NODE)
    with running([program, str(script), str(port), str(site), options], folder, port):
        yield port
