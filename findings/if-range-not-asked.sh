#!/usr/bin/env bash
# A download that broke off after 50 of 100 bytes goes on with `Range: bytes=50-` and the ETag that it had in `If-Range`, but
# the file was replaced meanwhile; served by Tornado 6.6.1 (StaticFileHandler), Falcon 4.4.0 (add_static_route), Starlette
# 1.10.0.
# Expected: the ETag is no longer that of the file, so the range must be ignored: 200 with the whole new file (RFC 9110,
# 13.1.5), as Starlette answers.
# Seen: Tornado and Falcon send ETags and ranges but never ask If-Range: 206 with the second half of the new file, which a
# client joins to the first half of the old one. The same with a date.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check tornado==6.6.1 falcon==4.4.0 starlette==1.10.0 \
    uvicorn==0.54.0
mkdir "$folder/files"
cat > "$folder/serve.py" <<'PYTHON'
"""Serves a folder with the framework that is named first, on a free port, which is printed."""

import asyncio
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

framework, folder = sys.argv[1:]
if framework == "tornado":
    import tornado.httpserver
    import tornado.netutil
    import tornado.web

    async def serve() -> None:
        handler = (r"/(.*)", tornado.web.StaticFileHandler, {"path": folder})
        sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
        tornado.httpserver.HTTPServer(tornado.web.Application([handler])).add_sockets(sockets)
        print(sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())
elif framework == "falcon":
    import falcon

    class Quiet(WSGIRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

    app = falcon.App()
    app.add_static_route("/", folder)
    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    print(server.server_port, flush=True)
    server.serve_forever()
else:
    import socket

    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    app = Starlette(routes=[Mount("/", StaticFiles(directory=folder))])
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
PYTHON
"$folder/venv/bin/python" - "$folder/files" "$folder/serve.py" <<'PYTHON'
import os
import subprocess
import sys
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

folder, serve = Path(sys.argv[1]), sys.argv[2]
OLD, NEW = b"a" * 100, b"b" * 120


def get(port: int, **headers: str) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/file.bin", headers={key.replace("_", "-"): value for key, value in headers.items()})
    answer = connection.getresponse()
    return answer, answer.read()


def write(content: bytes, at: int) -> None:
    (folder / "file.bin").write_bytes(content)
    os.utime(folder / "file.bin", (at, at))


seen = {}
for framework in ("tornado", "falcon", "starlette"):
    write(OLD, 1_600_000_000)
    with subprocess.Popen([sys.executable, serve, framework, str(folder)], stdout=subprocess.PIPE, text=True) as server:
        try:
            port = int(server.stdout.readline())
            first, half = get(port, Range="bytes=0-49")
            validators = {"ETag": first.headers["ETag"], "date": first.headers["Last-Modified"]}
            write(NEW, 1_700_000_000)
            for name, validator in validators.items():
                answer, rest = get(port, Range="bytes=50-", If_Range=validator)
                seen[framework, name] = (first.status, len(half), answer.status, rest == NEW)
                print(f"{framework}: If-Range with the {name} {validator}: {answer.status}, {len(rest)} of {len(NEW)} bytes")
        finally:
            server.terminate()
expected = {
    **{(name, kind): (206, 50, 206, False) for name in ("tornado", "falcon") for kind in ("ETag", "date")},
    **{("starlette", kind): (206, 50, 200, True) for kind in ("ETag", "date")},
}
print("as noted" if seen == expected else f"changed: {seen}")
sys.exit(seen != expected)
PYTHON
