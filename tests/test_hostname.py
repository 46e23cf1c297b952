"""Host names as resolvers take them."""

import pytest

from batchproc.hostname import ascii_host


@pytest.mark.parametrize(
    ("host", "ascii_form"),
    [
        ("A.Example", "a.example"),
        ("a.example.", "a.example"),
        ("foo-.example", "foo-.example"),
        ("-a.example", "-a.example"),
        ("a_b.example", "a_b.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("faß.de", "xn--fa-hia.de"),
        ("my_pics.bücher.example", "my_pics.xn--bcher-kva.example"),
        ("نامه\u200cای.com", "xn--mgba3gch31f060k.com"),
        ("xn--mgba3gch31f060k.com", "xn--mgba3gch31f060k.com"),
        ("ශ්\u200dරී.com", "xn--10cl1a0b660p.com"),
        ("☃.net", "xn--n3h.net"),
        ("a。b.example", "a.b.example"),
    ],
)
def test_a_name_in_ascii(host: str, ascii_form: str) -> None:
    assert ascii_form == ascii_host(host)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("a..b", "valid name"),
        ("", "valid name"),
        ("a b", "valid name"),
        ("%41.com", "valid name"),
        ("xn--a", "valid name"),
        ("xn--zzzzzzzz99.com", "valid name"),
        ("a\u202eb.com", "international name"),
        ("a\u200cb.com", "international name"),  # a joiner that no script needs there
        ("\u0300a.com", "international name"),
        ("a" * 64, "too long"),
        (".".join(["a" * 60] * 5), "too long"),
    ],
)
def test_what_is_no_name_says_why(host: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ascii_host(host)
