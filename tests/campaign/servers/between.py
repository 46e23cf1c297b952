"""What stands between a job and its images: caches, proxies, certificates; and what `--refresh` learns through them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from tests.campaign.servers.job import failures, run_job, urls
from tests.campaign.servers.programs import apache, find, free_port, lighttpd, nginx, squid
from tests.campaign.servers.refusing import left, statuses
from tests.campaign.servers.stage import Case, Finding, Stage, whole

COUNT = 100
CHANGED = 8


def squid_refresh(place: Stage) -> Iterator[Finding]:
    """Squid between, with Debian's rules; 8 of 100 images change at the origin, then `--refresh`."""
    for number in range(COUNT):
        Image.new("RGB", (64, 48), (number, 90, 90)).save(place.site / f"{number:03}.jpg")
        age(place.site / f"{number:03}.jpg", days=30)
    with nginx(place.folder, place.site) as port, squid(place.folder) as proxy:
        listed = [f"http://127.0.0.1:{port}/{number:03}.jpg" for number in range(COUNT)]
        through = f'download.proxy="http://127.0.0.1:{proxy}"'
        first = run_job(place.folder, listed, through)
        yield whole(first, "all images", COUNT)
        for number in range(CHANGED):
            Image.new("RGB", (70, 48), (number, 90, 90)).save(place.site / f"{number:03}.jpg")
            age(place.site / f"{number:03}.jpg", days=20)
        before = len(statuses(place))
        again = run_job(place.folder, listed, through, flags=("--refresh",))
        asked = statuses(place)[before:]
    yield Finding(
        claim=f"{COUNT - CHANGED} unchanged",
        seen=f"exit {again.exit_code}, {again.counts.get('unchanged')}",
        holds=(again.exit_code, again.counts.get("unchanged")) == (0, COUNT - CHANGED),
    )
    counts = {code: asked.count(code) for code in sorted(set(asked))}
    yield Finding(claim="the origin was asked", seen=str(counts), holds=counts.get("304") == COUNT - CHANGED)


def age(path: Path, *, days: int) -> None:
    """Sets the time at which a file was changed."""
    subprocess.run([find("touch"), "-d", f"{days} days ago", str(path)], check=True)


def squid_refuses_connect(place: Stage) -> Iterator[Finding]:
    """Squid that refuses CONNECT with 403, for another port than 443."""
    with squid(place.folder) as proxy:
        listed = [f"https://127.0.0.1:8443/{number}.jpg" for number in range(30)]
        ran = run_job(place.folder, listed, f'download.proxy="http://127.0.0.1:{proxy}"')
        tries = (place.folder / "squid" / "access.log").read_text().count("CONNECT")
    rows = failures(place.folder)
    codes = sorted({row["code"] for row in rows})
    yield Finding(claim="told as the proxy's", seen=f"exit {ran.exit_code}, {codes}", holds=codes == ["proxy"])
    said = rows[0]["message"] if rows else ran.said
    yield Finding(claim="with its status", seen=said, holds=bool(rows) and all("403" in row["message"] for row in rows))
    yield Finding(claim="few tries", seen=f"{tries}, {ran.seconds:.1f} s", holds=0 < tries <= 8)


def squid_dead_origin(place: Stage) -> Iterator[Finding]:
    """Squid before an origin that is not there: 503 made by Squid, which is no image and no host's word."""
    with squid(place.folder) as proxy:
        ran = run_job(place.folder, urls(free_port(), 30), f'download.proxy="http://127.0.0.1:{proxy}"')
    yield left(ran, "all are left for later", 30)


def lighttpd_refresh(place: Stage) -> Iterator[Finding]:
    """lighttpd and a type of file that it does not know: no validators; equal bytes are not made again."""
    with lighttpd(place.folder, place.site) as port:
        listed = urls(port, COUNT)
        yield whole(run_job(place.folder, listed), "all images", COUNT)
        times = made(place.folder / "out")
        again = run_job(place.folder, listed, flags=("--refresh",))
    full = (place.folder / "lighttpd.log").read_text().count("200 /")
    yield Finding(
        claim="all unchanged, though sent in full",
        seen=f"exit {again.exit_code}, {again.counts.get('unchanged')} unchanged, {full} full replies in both runs",
        holds=(again.exit_code, again.counts.get("unchanged"), full) == (0, COUNT, 2 * COUNT),
    )
    yield Finding(claim="no file made anew", seen=f"{len(times)} files", holds=times == made(place.folder / "out"))


def made(output: Path) -> dict[str, int]:
    """When each image was made."""
    return {path.name: path.stat().st_mtime_ns for path in (output / "images").rglob("*.jpg")}


def apache_client_certificate(place: Stage) -> Iterator[Finding]:
    """Apache with `SSLVerifyClient require` over TLS 1.3 and a certificate authority of one's own."""
    authority(place.folder)
    modules = "/usr/lib/apache2/modules"
    lines = [
        f"LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so",
        f"LoadModule ssl_module {modules}/mod_ssl.so",
        "SSLEngine on",
        "SSLProtocol -all +TLSv1.3",
        f"SSLCertificateFile {place.folder}/server.pem",
        f"SSLCertificateKeyFile {place.folder}/server.key",
        f"SSLCACertificateFile {place.folder}/ca.pem",
        "SSLVerifyClient require",
    ]
    trust = f'download.ca_file="{place.folder}/ca.pem"'
    own = (f'download.client_cert="{place.folder}/client.pem"', f'download.client_key="{place.folder}/client.key"')
    with apache(place.folder, place.site, workers=10, lines=lines) as port:
        listed = [url.replace("http://127.0.0.1", "https://localhost") for url in urls(port, 60)]
        for name, settings, why in (("stranger", (), "certificate"), ("anonymous", (trust,), "client certificate")):
            ran = run_job(place.folder, listed, *settings, name=name)
            rows = failures(place.folder, name)
            found = sorted({row["code"] for row in rows})
            said = f"{rows[0]['message']} ({rows[0]['hint']})" if rows else ran.said
            yield Finding(
                claim=f"{name}: told as what it is, soon",
                seen=f"exit {ran.exit_code}, {found}, {ran.seconds:.1f} s: {said}",
                holds=(3, ["tls"]) == (ran.exit_code, found) and why in said,
            )
        yield whole(run_job(place.folder, listed, trust, *own, name="known"), "with a client certificate: all", 60)
        by_host = [setting.replace("download.", 'download.hosts."localhost".', 1) for setting in (trust, *own)]
        yield whole(run_job(place.folder, listed, *by_host, name="table"), "by a table of the host's own: all", 60)


def authority(folder: Path) -> None:
    """Makes ca.pem, and server.pem and client.pem that it has signed."""
    openssl = find("openssl")

    def call(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True, timeout=30)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    call("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Own authority", "-days", "2")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        call("req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        call("x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.pem")


CASES: dict[str, Case] = {
    "squid-refresh": squid_refresh,
    "squid-refuses-connect": squid_refuses_connect,
    "squid-dead-origin": squid_dead_origin,
    "lighttpd-refresh": lighttpd_refresh,
    "apache-client-certificate": apache_client_certificate,
}
