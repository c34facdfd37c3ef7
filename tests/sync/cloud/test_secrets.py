from __future__ import annotations

import base64
import random
import string
import time
from urllib.parse import quote

import pytest

from holdfast.sync.cloud.secrets import LEAST_CHARS, Secrets
from holdfast.sync.cloud.token import MAX_CHARS

KEY = "k7+Xq2/machine=part-49fJw0"
TOKEN = "eyJhbGciOi.eyJleHAiOjE3.u8Yt-3_qLm0"


def base64_behind(before: str) -> str:
    return base64.b64encode(f"{before}{KEY}".encode()).decode()


SHOWN = {
    "whole": KEY,
    "the token": TOKEN,
    "both": f"{TOKEN} {KEY}",
    "a part": KEY[5:5 + LEAST_CHARS + 3],
    "another case": KEY.upper(),
    "with spaces": " ".join(KEY),
    "in lines": "\n".join(KEY),
    "quoted": quote(KEY, safe=""),
    "hexadecimal": KEY.encode().hex(),
    "hexadecimal, upper case": KEY.encode().hex().upper(),
    "base64": base64_behind(""),
    "base64 behind one": base64_behind("x"),
    "base64 behind two": base64_behind("xx"),
    "base64 of a header": base64_behind("Bearer ")[12:],
    "urlsafe base64": base64.urlsafe_b64encode(KEY.encode()).decode(),
}  # fmt: skip


def letters(text: str) -> str:
    return "".join(filter(str.isalnum, text)).lower()


@pytest.mark.parametrize("form", SHOWN)
def test_no_part_of_a_secret_is_shown_however_it_is_written(form: str) -> None:
    text = SHOWN[form]
    hidden = Secrets(KEY, TOKEN).hidden_in(f"unknown entity {text}, go away")
    assert hidden.startswith("unknown entity") and hidden.endswith(", go away") and "…" in hidden
    shown = letters(hidden)
    written = letters(text)
    left = [
        begin for begin in range(len(written) - LEAST_CHARS + 1) if written[begin : begin + LEAST_CHARS] in shown
    ]
    assert left == []


def test_what_is_no_secret_stays_as_it_is() -> None:
    text = "İstanbul: größer als erlaubt\n\0 (5000 vs. 4096), 100 % of it"
    assert Secrets(KEY, TOKEN).hidden_in(text) == text
    assert Secrets("", "").hidden_in(text) == text


def test_a_short_secret_is_hidden_as_a_whole() -> None:
    assert Secrets("abc12").hidden_in("the key ABC-12 is wrong") == "the key … is wrong"


def test_any_part_of_any_secret_is_hidden_wherever_it_stands() -> None:
    chance = random.Random(1)
    for _ in range(200):
        secret = "".join(chance.choices(string.ascii_letters + string.digits + "._-", k=chance.randint(12, 60)))
        begin = chance.randint(0, len(secret) - 12)
        part = secret[begin : begin + 12]
        if len(letters(part)) >= LEAST_CHARS:
            assert part not in Secrets("another-key", secret).hidden_in(f"ab{part}yz")


def test_the_longest_token_holds_up_nobody() -> None:
    token = "".join(random.Random(1).choices(string.ascii_letters, k=MAX_CHARS))
    began_s = time.process_time()
    Secrets(KEY, token).hidden_in("x" * 300)
    assert time.process_time() - began_s < 1, "it takes about ten milliseconds"
