"""The unified social credit code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_monitor.domain.institutions import UsccError, check_uscc, uscc_check_character

PUBLIC = ("91110000600037341L", "9144030071526726XG", "914403001922038216", "91330100799655058B")
ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"


@pytest.mark.parametrize("code", PUBLIC)
def test_four_public_codes_are_right(code: str) -> None:
    assert check_uscc(code) == code


@pytest.mark.parametrize(
    "code", ["", "91110000600037341", "9111000060003734IL", "91110000600037341l", "91110000600037341L "]
)
def test_a_code_of_the_wrong_shape_is_refused(code: str) -> None:
    with pytest.raises(UsccError, match="18 digits and capitals"):
        check_uscc(code)


def test_the_right_check_character_is_named() -> None:
    with pytest.raises(UsccError, match="should be L"):
        check_uscc("91110000600037341M")


@given(st.sampled_from(PUBLIC), st.integers(0, 16), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_always_seen(code: str, place: int, char: str) -> None:
    wrong = code[:place] + char + code[place + 1 : 17]
    assert (uscc_check_character(wrong) == code[17]) == (wrong == code[:17])
