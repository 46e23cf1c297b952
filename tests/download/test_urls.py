"""URLs are split once and pass the gates for scheme, host and port."""

import pytest

from batchproc.download import urls
from batchproc.errors import StageError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a.example/x.jpg", "http://a.example/x.jpg"),
        ("HTTP://A.Example:80/x", "http://a.example/x"),
        ("https://a.example:8443?q=1#part", "https://a.example:8443/?q=1"),
        ("https://user:secret@a.example/x", "https://a.example/x"),
        ("http://[2606:4700::1111]:8080/x", "http://[2606:4700::1111]:8080/x"),
        ("http://a.example/ä b|c", "http://a.example/%C3%A4%20b%7Cc"),
        ("http://a.example/%41?sig=%2F%zz", "http://a.example/%41?sig=%2F%zz"),
        ("http://a.example/s?token=exp%7e1~acl%3d%2f%2a", "http://a.example/s?token=exp%7e1~acl%3d%2f%2a"),
        ("http://a.example/%zz?ä=%c3ö", "http://a.example/%25zz?%C3%A4=%c3%C3%B6"),
        ("http://foo-.example/a", "http://foo-.example/a"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
    ],
)
def test_a_url_is_made_ready_to_send(url: str, expected: str) -> None:
    assert expected == urls.parse(url).url


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://a.example/x", "policy.scheme"),
        ("file:///etc/passwd", "policy.scheme"),
        ("data:image/png;base64,AA", "policy.scheme"),
        ("javascript:alert(1)", "policy.scheme"),
        ("//a.example/x", "input.url"),
        ("a.example/x", "input.url"),
        ("http:///x", "input.url"),
        ("http://a.example:0/", "input.url"),
        ("http://a.example:65536/", "input.url"),
        ("http://a.example:abc/", "input.url"),
        ("http://a b/", "input.url"),
        ("http://a.example/x\r\nHost: b", "input.url"),
        ("http://a.example\\@b/", "input.url"),
        ("http://a..example/", "input.url"),
        ("http://[::1/", "input.url"),
        ("http://a.example:22/", "policy.port"),
        ("http://a.example:6667/", "policy.port"),
    ],
)
def test_a_url_that_may_not_be_asked_for_is_refused(url: str, code: str) -> None:
    with pytest.raises(StageError) as caught:
        urls.parse(url)

    assert code == caught.value.code


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/b.jpg", "https://a.example/b.jpg"),
        ("b.jpg", "https://a.example/dir/b.jpg"),
        ("//b.example/c", "https://b.example/c"),
        ("https://b.example/c#f", "https://b.example/c"),
        ("/ä.jpg".encode().decode("latin-1"), "https://a.example/%C3%A4.jpg"),
        ("/a b.jpg", "https://a.example/a%20b.jpg"),
        ("?page=2", "https://a.example/dir/a.jpg?page=2"),
    ],
)
def test_a_redirect_is_resolved(location: str, expected: str) -> None:
    assert expected == urls.follow(urls.parse("https://a.example/dir/a.jpg"), location).url


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("", "redirect"),
        ("/a\x00b", "redirect"),
        ("http://a.example/x", "redirect"),
        ("https://[::1/", "redirect"),
        ("https://a b/", "redirect"),
        ("ftp://a.example/x", "policy.scheme"),
        ("https://a.example:25/x", "policy.port"),
    ],
)
def test_a_redirect_that_leads_astray_is_refused(location: str, code: str) -> None:
    with pytest.raises(StageError) as caught:
        urls.follow(urls.parse("https://a.example/dir/a.jpg"), location)

    assert code == caught.value.code
