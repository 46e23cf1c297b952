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
def apache(folder: Path, site: Path, *, workers: int, lines: Sequence[str] = ()) -> Iterator[int]:
    """Apache with its prefork module: a process for each of at most `workers` connections, idle ones included.

    `lines` are further ones of its config.
    """
    program, port = find("apache2"), free_port()
    modules = Path("/usr/lib/apache2/modules")
    lines = [
        *lines,
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
    folder: Path,
    site: Path,
    *,
    http: str = "",
    server: str = "",
    addresses: Sequence[str] = ("127.0.0.1",),
    port: int = 0,
) -> Iterator[int]:
    """nginx with further directives for its `http` and `server` blocks, in which PORT stands for its own port.

    `access.log` has a line per request: connection number, status, path.
    """
    program, port = find("nginx"), port or free_port()
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
            {http.replace("PORT", str(port))}
            server {{ {listen} root {site}; {server.replace("PORT", str(port))} }}
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


@contextmanager
def varnish(folder: Path, *, origin: int) -> Iterator[int]:
    """Varnish with its own defaults in front of a port."""
    program, port = find("varnishd"), free_port()
    config = folder / "varnish.vcl"
    config.write_text(f'vcl 4.1; backend default {{ .host = "127.0.0.1"; .port = "{origin}"; }}\n')
    work = folder / "varnish"
    command = [program, "-F", "-j", "none", "-n", str(work), "-f", str(config), "-s", "malloc,16m"]
    with running([*command, "-a", f"127.0.0.1:{port}"], folder, port):
        yield port


@contextmanager
def squid(folder: Path) -> Iterator[int]:
    """Squid with the rules of Debian's config, and a cache in memory; `squid.log` has a line per request."""
    program, port = find("squid"), free_port()
    own = folder / "squid"
    own.mkdir()
    own.chmod(0o777)
    config = folder / "squid.conf"
    config.write_text(f"""
acl SSL_ports port 443
acl Safe_ports port 80 443 1025-65535
http_access deny !Safe_ports
http_access deny CONNECT !SSL_ports
http_access allow localhost
http_access deny all
http_port 127.0.0.1:{port}
refresh_pattern -i (/cgi-bin/|\\?) 0 0% 0
refresh_pattern . 0 20% 4320
pid_filename none
cache_log {own}/cache.log
access_log stdio:{own}/access.log
coredump_dir {own}
shutdown_lifetime 1 second
""")
    with running([program, "-N", "-f", str(config)], folder, port):
        yield port


@contextmanager
def lighttpd(folder: Path, site: Path) -> Iterator[int]:
    """lighttpd that knows no type of file, and so gives no validators; `lighttpd.log` has a line per request."""
    program, port = find("lighttpd"), free_port()
    config = folder / "lighttpd.conf"
    config.write_text(f"""
server.modules = ("mod_accesslog")
server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{site}"
accesslog.filename = "{folder}/lighttpd.log"
accesslog.format = "%s %U"
""")
    with running([program, "-D", "-f", str(config)], folder, port):
        yield port
