"""The registrable domain of a URL's host."""

import pytest

from batchproc.cluster.scattering import authority_of, domain_finder, host_of

pytest.importorskip("publicsuffixlist", reason="the extra [dask] is not installed")
pytestmark = pytest.mark.extra


@pytest.mark.parametrize(
    ("url", "host", "domain"),
    [
        ("http://img.example.co.uk/a", "img.example.co.uk", "example.co.uk"),
        ("https://User:pa@Img.Example.ORG.:8080/a@b", "img.example.org", "example.org"),
        ("http://example.org?a/b@c.net", "example.org", "example.org"),
        ("http://me.github.io/a", "me.github.io", "me.github.io"),
        ("http://github.io/a", "github.io", "github.io"),
        ("http://127.0.0.1:80/a", "127.0.0.1", "127.0.0.1"),
        ("http://[::0001]:80/a", "[::1]", "[::1]"),
        ("http://[not an address/a", "[not an address]", "[not an address]"),
        ("http://localhost/a", "localhost", "localhost"),
        ("http://a.b.internal-name/a", "a.b.internal-name", "b.internal-name"),
        ("http://straße.example.de/", "xn--strae-oqa.example.de", "example.de"),
        ("http://bad host/", "bad host", "bad host"),
        ("file:///srv/a.jpg", "", ""),
        ("no URL", "", ""),
    ],
)
def test_a_url_has_the_domain_below_which_one_organisation_answers(url: str, host: str, domain: str) -> None:
    assert (host, domain) == (host_of(authority_of(url)), domain_finder()(host))
