"""What has the form of something personal or secret goes, wherever it stands; what has not stays as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.redact import MARGIN, redact, redacted_start

SECRETS = {
    "ann.lee+news@mail.example.co.uk": "[email]",
    "jürgen@müller.example": "[email]",
    "+49 (170) 123 45 67": "[phone]",
    "0170/1234567": "[phone]",
    "+33\u202f1\u202f23\u202f45\u202f67\u202f89": "[phone]",
    "(030) 123-456": "[phone]",
    "555-0123": "[phone]",
    "4111 1111 1111 1111": "[number]",
    "4111111111111111": "[number]",
    "123-45-6789": "[number]",
    "DE44 5001 0517 5407 3245 31": "[iban]",
    "GB33BUKB20201555555555": "[iban]",
    "192.168.17.4": "[ip]",
    "2001:db8::ff00:42:8329": "[ip]",
    "sk-proj-abcdEFGH12345678": "[secret]",
    "sym-Zm9vYmFyYmF6cXV4": "[secret]",
    "ghp_0123456789abcdefABCDEF": "[secret]",
    "AKIAIOSFODNN7EXAMPLE": "[secret]",
    "Bearer abcdefghijk.lmn": "Bearer [secret]",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln": "[secret]",
    "password: hunter2": "password: [secret]",
    'password: "correct horse battery"': 'password: "[secret]"',
    "pwd = 'a, b; \\' c'": "pwd = '[secret]'",
    '"api_key": "xyz"': '"api_key": "[secret]"',
    "https://bob:pw@host/x": "https://[secret]@host/x",
    "https://bob:p@ss@host/x": "https://[secret]@host/x",
    "Authorization: Basic Ym9iOnB3": "Authorization: Basic [secret]",
    "deadbeefdeadbeefdeadbeef00112233": "[secret]",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----": "[secret]",
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOYBF\n-----END PGP PRIVATE KEY BLOCK-----": "[secret]",
    "-----BEGIN PRIVATE KEY-----\nMIIE cut off": "[secret]",
}
HARMLESS = [
    "What is 12345678 + 7, and who wrote Faust on 2024-10-12 at 12:30:45?",
    "std::vector<int> x; the token bucket algorithm, a bearer of news, the basic idea.",
    "1,000,000 is 10^6; 3.14159 is pi; 12-10-2024; version 1.2.3",
    "a risk-assessment is a task-oriented thing",
    "me @ home, a@b",
]
WHOLE = [secret for secret, told in SECRETS.items() if told.startswith("[")]
WORDS = st.text(st.characters(categories=["L", "Zs"]), max_size=40)


@pytest.mark.parametrize(("secret", "told"), SECRETS.items())
def test_each_form_is_replaced_by_its_kind(secret: str, told: str) -> None:
    """Among other words, these stay as they are."""
    assert redact(f"It was {told} today") == f"It was {told} today"
    assert redact(f"It was {secret}") == f"It was {told}"


@pytest.mark.parametrize("text", HARMLESS)
def test_what_has_no_such_form_stays(text: str) -> None:
    """Sums, dates, times, code and prose are what prompts are made of."""
    assert redact(text) == text


@given(WORDS, st.sampled_from(WHOLE), WORDS)
def test_no_secret_is_left_whatever_stands_around_it(before: str, secret: str, after: str) -> None:
    """In a line of its own, words before and behind it hide none."""
    found = redact(f"{before}\n{secret}\n{after}")
    assert secret not in found
    assert SECRETS[secret] in found


@given(st.text(st.characters(codec=None)))
def test_any_text_can_be_redacted(text: str) -> None:
    """Whatever a client sends, halves of characters too; no e-mail address of a common form is left in it."""
    assert "ann@example.com" not in redact(f"{text} ann@example.com {text}")


@given(WORDS)
def test_words_alone_are_left_alone(text: str) -> None:
    """Letters and spaces have none of these forms."""
    assert redact(text) == text


@given(st.sampled_from(WHOLE), st.integers(0, 60))
def test_a_text_that_is_cut_shows_no_part_of_a_secret(secret: str, at: int) -> None:
    """What begins before the cut is read to its end, and goes as a whole."""
    limit = 50
    text = "x" * (limit - at) + " " + secret + " " + "y z " * MARGIN
    found = redacted_start(text, limit)
    assert len(found) <= limit + 1
    assert found.endswith("…")
    assert not any(found.rstrip("…").endswith(secret[:n]) for n in range(4, len(secret)))


@given(st.integers(0, 3), st.integers(1, 80))
def test_secrets_in_a_row_do_not_pull_a_cut_one_into_view(gap: int, limit: int) -> None:
    """Placeholders are shorter than what they stand for: the cut is made behind them, and nothing slips in."""
    text = (" " * (gap + 1)).join(f"ann{n}.of.a.long.name@mail.example.com" for n in range(40))
    assert "@" not in redacted_start(text, limit)
    assert "long" not in redacted_start(text, limit)


def test_a_short_text_is_told_whole() -> None:
    """Nothing is cut where there is no more."""
    assert redacted_start("mail ann@example.com", 20) == "mail [email]"


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "1 ",
        "a@",
        "a.",
        "+(",
        "ab12 ",
        "token:",
        'token="',
        "pwd='\\",
        "://",
        "://a",
        "basic ",
        ":",
        "1.",
        "sk-",
        "-----BEGIN ",
    ],
)
def test_a_long_text_takes_no_longer_than_its_length(piece: str) -> None:
    """A megabyte of what patterns begin with: a pattern that goes back and forth would not come to its end."""
    assert redact(piece * (1_000_000 // len(piece)))
