"""Secrets do not leave a URL, and text cannot play tricks."""

import pytest

from batchproc.redact import is_secret_name, printable, redact_text, redact_url


@pytest.mark.parametrize(
    ("shown", "url"),
    [
        ("http://***@host/a", "http://user:password@host/a"),
        ("http://***@host/", "http://user:p@ss@host/"),
        ("http:\\\\***@host", "http:\\\\user:password@host"),
        ("//***@host/a", "//user@host/a"),
        ("http://host/a@b", "http://host/a@b"),
        ("http://h/?sig=***&w=3", "http://h/?sig=abc&w=3"),
        ("http://h/?w=3&X-Amz-Signature=***", "http://h/?w=3&X-Amz-Signature=0f"),
        ("http://h/?X-Amz-Credential=***", "http://h/?X-Amz-Credential=AK/2026"),
        ("http://h/?api_key=***;AccessToken=***", "http://h/?api_key=1;AccessToken=2"),
        ("http://h/?%74oken=***", "http://h/?%74oken=1"),
        ("http://h/#access_token=***", "http://h/#access_token=1"),
        ("http://h/?key=***&keywords=***", "http://h/?key=1&keywords=cat"),
        ("http://h/?code=***&pin=***&bearer=***&w=3", "http://h/?code=1&pin=1234&bearer=x&w=3"),
        ("http://h/?u=***&w=***", "http://h/?u=https%3A%2F%2Fuser%3Apw%40host&w=0123456789abcdef0"),
        ("http://h/?author=***&token=", "http://h/?author=me&token="),
        ("http://[::1/?password=***", "http://[::1/?password=x"),
        ("http://h/a.jpg;jsessionid=***?w=3", "http://h/a.jpg;jsessionid=0F?w=3"),
        ("http://h/a;v=1;***/b;sid=***/c.jpg", "http://h/a;v=1;0f3a/b;sid=0F/c.jpg"),
        ("http://h/a;***", "http://h/a;0f3a5577"),
        ("http://h/?***", "http://h/?abcdef012345"),
        ("http://h/?***", "http://h/?YWJjZGVm=="),
        ("http://h/?***&w=3&***", "http://h/?0f3a=&w=3&my-secret-0f3a"),
        ("http://h/?***=***", f"http://h/?{'0f3a' * 20}=1"),
        ("http://h/a#***", "http://h/a#0f3a"),
        ("http://h/a#***?token=***", "http://h/a#/route?token=1"),
        ("/a.jpg?token=***", "/a.jpg?token=1"),
        ("http://h/exp=9~hmac=***/a,token=***/w=3,h=4/b.jpg", "http://h/exp=9~hmac=0f/a,token=0f/w=3,h=4/b.jpg"),
        ("http://h/get/https://***@g/a.jpg?sig=***", "http://h/get/https://u:p@g/a.jpg?sig=1"),
        ("http://h/get/http***/b", "http://h/get/https%3A%2F%2Fu%3Ap%40g%2Fa/b"),
        ("http://h/get/http***", "http://h/get/http%253A%252F%252Fu%253Ap%2540g%252Fa"),
        ("http://h/a.jpg***", "http://h/a.jpg%3Ftoken%3D1"),
        ("http://user:***#***", "http://user:pa#ss@host/a"),
        ("http://user:***/ss@host/a", "http://user:pa/ss@host/a"),
        ("http://user:***?***", "http://user:pa?ss@host"),
        ("http://h:8080/img%402x.png", "http://h:8080/img%402x.png"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("//***@host/***@c", "//u:p@host/a:b@c"),
    ],
)
def test_url_is_shown_without_its_secrets(shown: str, url: str) -> None:
    assert shown == redact_url(url)


def test_every_url_in_a_text_is_redacted() -> None:
    text = 'see "http://u:p@a/x" and https://b/?token=1, then go'

    assert 'see "http://***@a/x" and https://b/?token=*** then go' == redact_text(text)


@pytest.mark.parametrize("text", ["a", "a=", "a:", "a@", "/", ";", "http", "%25", "?", "//a:"])
def test_a_text_of_any_length_is_redacted_in_proportion(text: str) -> None:
    long = text * 300_000

    assert len(redact_text("x" + long)) + len(redact_url(long)) > 0


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "X-Api-Key", "x-auth", "My-Token", "client_secret", "key"])
def test_names_that_hold_secrets_are_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["width", "monkeys", "keyboard", "Accept", "User-Agent", "url_column", "author"])
def test_harmless_names_are_left_alone(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        ("\\x1b[31mred\\x0aline", "\x1b[31mred\nline"),
        ("a\\u202eb\\u2028", "a\u202eb\u2028"),
        ("\\ud800", "\ud800"),
        ("\\x85\\x7f", "\x85\x7f"),
        ("\\U000e0041", "\U000e0041"),
        ("Zoë 猫 👩‍👧 نمی‌خواهم", "Zoë 猫 👩‍👧 نمی‌خواهم"),
    ],
)
def test_only_characters_that_play_tricks_are_escaped(shown: str, text: str) -> None:
    assert shown == printable(text)
