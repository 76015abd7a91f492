"""Passwords: which are taken, and how they are hashed and compared."""

from __future__ import annotations

import secrets
import threading
import unicodedata
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from escrow_monitor.errors import SpokenError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

CHARACTERS_MIN = 12
CHARACTERS_MAX = 128
DIFFERENT_MIN = 5
GENERATED_BYTES = 15
"""120 random bits, 20 characters."""
AT_ONCE_MAX = 2
"""One comparison takes 64 MiB and a tenth of a second of two cores: more at once would be no faster."""

_at_once = threading.BoundedSemaphore(AT_ONCE_MAX)

COMMON = frozenset((
    "password", "passwords", "passw0rd", "passwort", "mima", "qwerty", "qwertyuiop", "qazwsx", "qazwsxedc", "asdfgh",
    "asdfghjkl", "zxcvbn", "zxcvbnm", "qwertyasdfgh", "qwertyuiopasdfghjkl", "abc", "abcd", "abcdef", "abcdefg",
    "abcdefghijkl", "abcabc", "iloveyou", "woaini", "woainima", "wodemima", "welcome", "welcometo", "letmein",
    "admin", "administrator", "administrators", "guanliyuan", "root", "test", "testtest", "changeme",
    "pleasechange", "changemeplease", "default", "secret", "monkey", "dragon", "football", "sunshine", "princess",
    "superman", "master", "login", "user", "guest", "demo", "escrow", "escrowmonitor", "monitor", "jianguan",
    "jiaoyu", "jiaoyuju", "peixun", "shuangjian", "zijinjianguan", "beijing", "shanghai", "chengdu", "zigong",
    "china", "zhongguo", "huawei", "dell", "lenovo", "windows", "microsoft",
))
"""What is left of a password without its digits and signs must not be one of these."""
COMMON_WHOLE = frozenset((
    "123456789012", "1234567890123", "1234567890ab", "12345678901234", "123456123456", "123456654321", "123123123123",
    "1q2w3e4r5t6y", "1qaz2wsx3edc", "1qaz2wsx3edc4rfv", "q1w2e3r4t5y6", "qwer1234asdf", "a1b2c3d4e5f6", "1a2b3c4d5e6f",
    "5201314520131", "520131452013", "woaini1314520", "woaini5201314", "123456abcdef", "abc123456789", "abcd12345678",
    "123456789abc", "123456789qwe", "987654321098", "0123456789ab", "012345678901", "112233445566", "111222333444",
    "zaq12wsxcde3", "zaq1xsw2cde3", "p@ssw0rd1234", "p@ssword1234", "passw0rd1234", "password1234",
))


def check_password(password: str, *, name: str) -> str:
    """Return the password as it is hashed, if it may be one. Raises UsageError that says why not, without it."""
    text = _normal(password)
    if len(text) < CHARACTERS_MIN:
        raise SpokenError(
            f"a password has at least {CHARACTERS_MIN} characters: a few words in a row are good",
            zh=f"密码至少 {CHARACTERS_MIN} 个字符：几个词连在一起就很好",
        )
    if len(text) > CHARACTERS_MAX:
        raise SpokenError(
            f"a password has at most {CHARACTERS_MAX} characters", zh=f"密码最多 {CHARACTERS_MAX} 个字符"
        )
    plain = text.casefold()
    if len(set(plain)) < DIFFERENT_MIN:
        raise SpokenError(
            f"this password has fewer than {DIFFERENT_MIN} different characters: anybody guesses it",
            zh=f"这个密码不同的字符不到 {DIFFERENT_MIN} 个，谁都猜得到",
        )
    letters = "".join(character for character in plain if character.isalpha())
    if plain in COMMON_WHOLE or letters in COMMON or _is_row(plain):
        raise SpokenError(
            "this password is one of those that are guessed first: choose another",
            zh="这是最先被猜到的密码之一，请换一个",
        )
    if name.casefold() in plain:
        raise SpokenError("a password must not contain the name it is for", zh="密码不能含用户名")
    return text


def generated_password(*, name: str = "") -> str:
    """A random one, to be handed over once. The name it is for does not stand in it, by whatever chance."""
    while True:
        password = secrets.token_urlsafe(GENERATED_BYTES)
        if not name or name.casefold() not in password.casefold():
            return password


def hashed(password: str) -> str:
    """The argon2id hash with its salt and cost in it."""
    with _at_once:
        return _hasher().hash(_normal(password))


def kept_of(password: str, *, name: str) -> str:
    """What is kept of a new password. It takes a while on purpose: ask before a transaction begins. Raises UsageError.
    """
    return hashed(check_password(password, name=name))


def is_right(kept: str | None, password: str) -> bool:
    """True if this is the password of this hash. Without a hash (nobody has the name, or they have no
    password) it takes as long and is False."""
    from argon2.exceptions import InvalidHashError, VerificationError

    # What cannot be a password is compared all the same, cut to what can be.
    given = _normal(password[: CHARACTERS_MAX * 2])[:CHARACTERS_MAX]
    with _at_once:
        try:
            _hasher().verify(kept or _nobodys(), given)
        except (VerificationError, InvalidHashError):
            return False
    return bool(kept) and given == _normal(password)


def is_outdated(kept: str) -> bool:
    """True if the hash was made with less than is taken today: hash the password again when it is next given."""
    return _hasher().check_needs_rehash(kept)


def _normal(password: str) -> str:
    """One text for what looks the same: keyboards write it in several ways."""
    return unicodedata.normalize("NFKC", password)


def _is_row(text: str) -> bool:
    """A run of neighbours, up or down: abcdefghijkl, 987654321098."""
    steps = {
        (ord(after) - ord(before)) % 10 if before.isdigit() and after.isdigit() else ord(after) - ord(before)
        for before, after in pairwise(text)
    }
    return steps <= {1} or steps <= {-1, 9}


@lru_cache(maxsize=1)
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher()  # argon2id as RFC 9106 has it for little memory: 64 MiB, three passes, four lanes


@lru_cache(maxsize=1)
def _nobodys() -> str:
    return _hasher().hash(secrets.token_urlsafe(GENERATED_BYTES))
