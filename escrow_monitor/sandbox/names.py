"""The names and numbers of invented institutions and accounts, each computed from its place in the district."""

from __future__ import annotations

import hashlib
import uuid
from functools import lru_cache

from escrow_monitor.domain.institutions import uscc_check_character

INSTITUTIONS_MAX = 999_999
"""Six digits of a place fit into an account number, an organisation code and an entry's reference."""

_SPREAD = 387_420_489_013
_SPACE = 10**12
_ORGANISATION = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_DOUBLED = {str(digit): sum(divmod(2 * digit, 10)) for digit in range(10)}
_ORGANISATION_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
_FIRST = (
    "青禾", "启明", "新芽", "博雅", "明德", "知行", "小树", "星河", "墨香", "春晖", "卓越", "彩虹", "思远", "乐童",
    "松果", "育才",
)
_SECOND = ("艺术", "音乐", "舞蹈", "书法", "体育", "科创", "语言", "美术", "围棋", "编程", "文化", "游泳")
_PLACES = {
    "510302": "自贡市自流井区", "510303": "自贡市贡井区", "510304": "自贡市大安区", "510311": "自贡市沿滩区",
    "510321": "荣县", "510322": "富顺县", "371082": "荣成市", "330106": "杭州市西湖区", "500106": "重庆市沙坪坝区",
}


def account_number(*, prefix: str, place: int, seed: int) -> str:
    """Return the 19 digits of the account at `place`: six of the bank, twelve that spread, a Luhn check digit.

    Two places never share a number: the multiplier has no factor in common with 10^12.
    """
    body = f"{prefix}{(place * _SPREAD + _offset(seed)) % _SPACE:012d}"
    return f"{body}{_luhn(body)}"


def place_of(account_no: str, *, seed: int) -> int:
    """Return the place that `account_number` would have given this number; any 19 digits give some place."""
    return (int(account_no[6:18]) - _offset(seed)) * pow(_SPREAD, -1, _SPACE) % _SPACE


def resource_id(account_no: str) -> str:
    """Return the bank's own opaque id of an account, a UUID as Berlin Group banks use."""
    return str(uuid.UUID(bytes=hashlib.blake2b(account_no.encode(), digest_size=16).digest(), version=4))


def institution_code(*, district: str, place: int, company: bool) -> str:
    """Return a well-formed unified social credit code (GB 32100-2015) that no two places share.

    `91` is a company, `52` a private non-enterprise unit; the organisation code inside carries its own check
    character (GB 11714).
    """
    digits = []
    rest = place
    for _ in range(6):
        rest, digit = divmod(rest, len(_ORGANISATION))
        digits.append(_ORGANISATION[digit])
    organisation = "MA" + "".join(reversed(digits))
    first = f"{'91' if company else '52'}{district}{organisation}{_organisation_check(organisation)}"
    return first + uscc_check_character(first)


def institution_name(*, district: str, place: int, company: bool) -> str:
    """Return a name as such institutions bear it; past 48 places it carries a number."""
    first, second = _FIRST[place % len(_FIRST)], _SECOND[place * 5 % len(_SECOND)]
    again = place // 48
    number = f"第{again + 1}" if again else ""
    return f"{_PLACES[district]}{first}{number}{second}培训{'有限公司' if company else '学校'}"


@lru_cache(maxsize=64)
def _offset(seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"accounts:{seed}".encode(), digest_size=8).digest(), "big") % _SPACE


def _luhn(body: str) -> int:
    """The check digit: every second digit from the right is doubled, its two digits added up."""
    total = sum(map(_DOUBLED.__getitem__, body[::-2])) + sum(map(int, body[-2::-2]))
    return -total % 10


def _organisation_check(organisation: str) -> str:
    total = sum(int(char, 36) * weight for char, weight in zip(organisation, _ORGANISATION_WEIGHTS, strict=True))
    return "0123456789X0"[11 - total % 11]
