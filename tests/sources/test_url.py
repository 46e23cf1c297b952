"""Which URLs are the same item, and what is wrong with a text that is none."""

from urllib.parse import urljoin

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchproc.errors import Code
from batchproc.sources.url import CANONICAL, MAX_URL_CHARS, BadUrl, _canonical_slowly, canonical, joiner


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("http://a.com/x.jpg?b=2&a=1", "http://a.com/x.jpg?b=2&a=1"),
        ("http://a.com/x", "HTTP://A.com:80/x#part"),
        ("https://a.com/", "https://a.com:443"),
        ("http://a.com:8080/?x", "http://a.com:8080?x"),
        ("http://a.com/b/c", "http://a.com/a/../b/./c"),
        ("http://a.com/a/", "http://a.com/a/b/.."),
        ("http://a.com//b//c", "http://a.com//b//c"),
        ("http://a.com/.../.b", "http://a.com/.../.b"),
        ("http://a.com/~me/%2F%C3%A9", "http://a.com/%7eme/%2f%c3%a9"),
        ("http://a.com/%C3%A9?%C3%BC=1", "http://a.com/é?ü=1"),
        ("http://a.com/100%25?a%5B%5D=1%7C2", "http://a.com/100%?a[]=1|2"),
        ("http://a.com/a,b%20c", "http://a.com/a,b%20c"),
        ("http://xn--bcher-kva.de/", "http://Bücher.de/"),
        ("http://xn--bcher-kva.de/", "http://xn--bcher-kva.de"),
        ("http://a.com/", "http://a。com"),
        ("http://a.com/x", "http://a.com./x"),
        ("http://my_bucket.example/x", "http://my_bucket.example/x"),
        ("http://u:p@a.com/x", "http://u:p@A.com/x"),
        ("http://a%40b@c.com/", "http://a@b@c.com/"),
        ("http://[::1]/x", "http://[0:0::1]:80/x"),
        ("http://127.1/", "http://127.1/"),
    ],
)
def test_canonical_form(expected: str, text: str) -> None:
    assert expected == canonical(text)


@pytest.mark.parametrize(
    ("code", "says", "text"),
    [
        (Code.POLICY_SCHEME, "no scheme", "example.com/cat.jpg"),
        (Code.POLICY_SCHEME, "no scheme", ""),
        (Code.POLICY_SCHEME, '"ftp"', "ftp://a.com/x"),
        (Code.POLICY_SCHEME, '"javascript"', "javascript:alert(1)"),
        (Code.POLICY_SCHEME, '"data"', "data:image/png;base64,AAAA"),
        (Code.POLICY_SCHEME, '"file"', "file:///etc/passwd"),
        (Code.INPUT_URL, "host is missing", "http:///x"),
        (Code.INPUT_URL, "host is missing", "http:x"),
        (Code.INPUT_URL, "host is missing", "http://:80/"),
        (Code.INPUT_URL, 'port "0"', "http://a:0/"),
        (Code.INPUT_URL, 'port "65536"', "http://a:65536/"),
        (Code.INPUT_URL, "the port after its host", "http://a:abc/"),
        (Code.INPUT_URL, 'port "99999999999"', "http://a:99999999999/"),
        (Code.INPUT_URL, "the port after its host", "http://a:-1/"),
        (Code.INPUT_URL, "a space (write %20) at position 15", "http://a.com/x y"),
        (Code.INPUT_URL, "a space", "http://a b@c.com/"),
        (Code.INPUT_URL, "control character \\x00", "http://a.com/\x00"),
        (Code.INPUT_URL, "control character \\x0a", "http://a.com/a\nHost: b"),
        (Code.INPUT_URL, "valid name", "http://a..b/"),
        (Code.INPUT_URL, "valid name", "http://%41.com/"),
        (Code.INPUT_URL, "valid name", "http://xn--a/"),
        (Code.INPUT_URL, "perhaps http://host/a.jpg was meant", "http:/host/a.jpg"),
        (Code.INPUT_URL, "perhaps https://host/a.jpg was meant", "https:host/a.jpg"),
        (Code.INPUT_URL, "a slash belongs: perhaps http://host/a.jpg was meant", "http://host\\a.jpg"),
        (Code.INPUT_URL, "international name", "http://a\u202eb.com/"),
        (Code.INPUT_URL, "too long", f"http://{'a' * 64}.com/"),
        (Code.INPUT_URL, "IPv6", "http://[::1/"),
        (Code.INPUT_URL, "IPv6", "http://[fe80::1%25eth0]/"),
        (Code.INPUT_URL_TOO_LONG, "limit is 8000", "http://a.com/" + "a" * MAX_URL_CHARS),
        (Code.INPUT_URL_TOO_LONG, "limit is 8000", "http://a.com/" + "é" * (MAX_URL_CHARS // 2)),
    ],
)
def test_bad_url_has_its_code_and_says_why(code: Code, says: str, text: str) -> None:
    with pytest.raises(BadUrl) as caught:
        canonical(text)

    assert code == caught.value.code
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("file:///a/b.jpg", "file:///a/b.jpg"),
        ("file:///a/b.jpg", "FILE://localhost/a/./c/../b.jpg"),
        ("file:///a/b.jpg", "file:/a/b.jpg"),
        ("file:///%C3%A9%FF%3Fb.jpg", "file:///\u00e9%ff%3fb.jpg"),
        ("file:///etc/passwd", "file:///../../etc/passwd"),
        ("http://a.com/", "http://A.com"),
    ],
)
def test_the_url_of_a_file_is_canonical_where_files_are_taken(expected: str, text: str) -> None:
    assert expected == canonical(text, local=True)


@pytest.mark.parametrize(
    ("says", "text"),
    [
        ('said to be on "host"', "file://host/a.jpg"),
        ("begins at the root", "file:a.jpg"),
        ("write %3F for it", "file:///a?b.jpg"),
        ("write %23 for it", "file:///a#1.jpg"),
        ("write %20 for it", "file:///a b.jpg"),
    ],
)
def test_what_is_no_url_of_a_file_here_says_why(says: str, text: str) -> None:
    with pytest.raises(BadUrl, match=says) as caught:
        canonical(text, local=True)

    assert Code.INPUT_URL == caught.value.code


@pytest.mark.parametrize(
    ("expected", "joined", "text"),
    [
        ("cat.jpg", "http://h/d/cat.jpg", "cat.jpg"),
        ("cat.jpg", "http://h/d/cat.jpg", "./a/../cat.jpg#x"),
        ("/cat.jpg?a", "http://h/cat.jpg?a", "/cat.jpg?a"),
        ("../cat.jpg", "http://h/cat.jpg", "../cat.jpg"),
        ("?q", "http://h/d/f?q", "?q"),
        ("//other.com/x", "http://other.com/x", "//OTHER.com/x"),
        ("http://other.com/x", "http://other.com/x", "http://OTHER.com/x"),
        ("./a:b", "http://h/d/a:b", "./a:b"),
        ("/.//evil.com", "http://h//evil.com", "/.//evil.com"),
    ],
)
def test_relative_url_is_canonical_as_listed_and_joined_for_the_request(expected: str, joined: str, text: str) -> None:
    url = canonical(text, relative=True)

    assert expected == url
    assert joined == joiner("http://h/d/f")(url)


@pytest.mark.parametrize("base_url", ["http://h", "http://h/", "http://h/x?y=/z"])
def test_base_without_a_folder_joins_at_the_root(base_url: str) -> None:
    assert "http://h/cat.jpg" == joiner(base_url)("cat.jpg")


@example(base_url="http://h/d/f", rest="a?")
@example(base_url="http://h/d/f", rest="a;")
@example(base_url="http://h/d/f", rest="/other/a")
@example(base_url="http://h/d/f", rest="a/../b?c=/../d#e")
@example(base_url="http://h/d/f", rest="a\n")
@given(
    base_url=st.sampled_from(["http://h", "http://h/", "https://u:p@h:81/d/f?y=/z#f", "http://[::1]/a/../b/", "http://h?q"]),
    rest=st.one_of(st.text(alphabet="a./?#;\\\\ :@%=&\t\né", max_size=12), st.text(max_size=12)),
)
def test_a_reference_from_the_root_is_joined_as_the_standard_library_does(base_url: str, rest: str) -> None:
    try:
        expected = urljoin(base_url, f"/{rest}")
    except ValueError:  # as `//[`: never canonical
        return

    assert expected == joiner(base_url)(f"/{rest}")


def test_a_plain_reference_from_the_root_is_joined_without_taking_it_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    join = joiner("http://h/d/f")
    monkeypatch.delattr("batchproc.sources.url.urljoin")

    assert "http://h/img//1.jpg?w=2&h=%20" == join("/img//1.jpg?w=2&h=%20")


_URL_TEXT = st.text(alphabet="htp:/.?#[]@%a1Fé\\ ~;&=", max_size=30)


@given(text=st.one_of(_URL_TEXT, _URL_TEXT.map(lambda rest: f"http://a.com/{rest}"), st.text(max_size=20)))
def test_canonical_form_is_ascii_and_stays_as_it_is(text: str) -> None:
    for relative in (False, True):
        try:
            url = canonical(text, relative=relative)
        except BadUrl:
            continue
        assert url.isascii()
        assert url.isprintable()
        assert url == canonical(url, relative=relative)


_HOST_TEXT = st.one_of(
    st.sampled_from(["a.com", "A.com", "a.com.", "xn--a", "b.xn--bcher-kva.de", "a..b", "a.com:80", "u@a.com"]),
    st.text(alphabet="axn-._0", max_size=8),
    st.integers(62, 65).map(lambda count: f"{count * 'a'}.b"),
    st.integers(252, 256).map(lambda count: ("ab." * 86)[:count - 1] + "b"),
)
_REST_TEXT = st.one_of(st.text(alphabet="a./?%2fF4C#~;", max_size=12), st.text(max_size=8))


def is_quick(text: str) -> bool:
    return CANONICAL.fullmatch(text) is not None and "/." not in text


@given(scheme=st.sampled_from(["http", "https", "HTTP", "ftp"]), host=_HOST_TEXT, rest=_REST_TEXT)
@example(scheme="https", host="img.example-1.org", rest="pictures/%C3%A9/0001.jpg?size=a/b")
def test_what_is_quickly_seen_to_be_canonical_is_what_the_slow_way_makes_of_it(
    scheme: str, host: str, rest: str
) -> None:
    text = f"{scheme}://{host}/{rest}"

    if is_quick(text):
        assert text == _canonical_slowly(text, relative=False) == canonical(text, relative=True, local=True)


@pytest.mark.parametrize("text", ["http://a.com/", "https://img.example-1.org/p/%C3%A9.jpg?a=1/2", "http://127.1/x"])
def test_most_urls_are_quickly_seen_to_be_canonical(text: str) -> None:
    assert is_quick(text)
