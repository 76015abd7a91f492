"""SM2, SM3 and SM4 against the examples in their standards, and the envelope against what changes it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from decimal import Decimal

import gmssl_pyx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from escrow_monitor.banks.sm_envelope import (
    PLACEHOLDER,
    Envelope,
    EnvelopeBroken,
    NotGenuine,
    Number,
    canonical,
    der_signature,
    padded_id,
    private_key_from,
    public_key_from,
    public_key_of,
    raw_signature,
    sm4_key_from,
)
from escrow_monitor.errors import ConfigurationError

# GB/T 32918.5-2017, annex A: keys, user id, message and signature on the recommended curve.
PRIVATE = "3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8"
PUBLIC = (
    "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)
SIGNATURE = (
    "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
    "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
)
# GB/T 32907-2016, annex A.1: key and plain text are the same.
SM4 = "0123456789ABCDEFFEDCBA9876543210"
SM4_ENCRYPTED = "681EDF34D206965E86B3E94F536E4246"
# GB/T 32905-2016, annex A: "abc", and "abcd" sixteen times.
SM3 = {
    b"abc": "66C7F0F462EEEDD9D1F2D46BDC10E4E24167C4875CF2F7A2297DA02B8F4BA8E0",
    b"abcd" * 16: "DEBE9FF92275B8A138604889C18E5A4D6FDB70E5387E5765293DCBA39C0C5732",
}

USER = "N003261207"
OURS, THEIRS = bytes.fromhex(PRIVATE), bytes.fromhex("11" * 32)
KEY = b"sixteen-letters!"
US = Envelope(user_id=USER, private_key=OURS, their_public_key=public_key_of(THEIRS), key=KEY)
THEM = Envelope(user_id=USER, private_key=THEIRS, their_public_key=public_key_of(OURS), key=KEY)
MESSAGE = {"response": {"head": {"resultcode": "SUC0000"}, "body": {"z": [{"b": "招商银行", "a": "1.00"}]}}}


def decrypted(sealed: bytes) -> str:
    return gmssl_pyx.sm4_cbc_padding_decrypt(KEY, padded_id(USER), base64.b64decode(sealed)).decode()


def encrypted(text: str) -> bytes:
    return base64.b64encode(gmssl_pyx.sm4_cbc_padding_encrypt(KEY, padded_id(USER), text.encode()))


def test_the_examples_of_the_standards_come_out() -> None:
    assert gmssl_pyx.sm2_verify(
        bytes.fromhex(PUBLIC), b"message digest", der_signature(bytes.fromhex(SIGNATURE)), b"1234567812345678"
    )
    assert not gmssl_pyx.sm2_verify(
        bytes.fromhex(PUBLIC), b"message digesT", der_signature(bytes.fromhex(SIGNATURE)), b"1234567812345678"
    )
    block = bytes.fromhex(SM4)
    assert gmssl_pyx.sm4_cbc_padding_encrypt(block, bytes(16), block)[:16] == bytes.fromhex(SM4_ENCRYPTED)
    for message, digest in SM3.items():
        assert gmssl_pyx.sm3_hash(message) == bytes.fromhex(digest)


def test_the_public_key_of_a_private_one_is_that_of_the_standard() -> None:
    assert public_key_of(bytes.fromhex(PRIVATE)) == bytes.fromhex(PUBLIC)


def test_the_private_key_of_the_librarys_own_pairs_gives_their_public_one() -> None:
    for _ in range(5):
        public, private = gmssl_pyx.sm2_key_generate()
        assert public_key_of(private) == public


@given(st.binary(min_size=64, max_size=64))
@example(bytes(64))
@example(b"\x00" * 31 + b"\x01" + b"\xff" * 32)
def test_a_signature_is_the_same_in_both_notations(raw: bytes) -> None:
    assert raw_signature(der_signature(raw)) == raw


def test_the_user_number_is_filled_up_with_zeros() -> None:
    assert padded_id("N003261207") == b"N003261207000000"
    for wrong in ("", "N" * 17, "招商"):
        with pytest.raises(ConfigurationError):
            padded_id(wrong)


def test_the_signed_text_has_sorted_keys_and_no_blanks() -> None:
    document = {"request": {"head": {"userid": "N1", "funcode": "F"}, "body": {"x": [{"b": 1, "a": "é招"}, "q"]}}}
    assert canonical(document) == (
        '{"request":{"body":{"x":[{"a":"é招","b":1},"q"]},"head":{"funcode":"F","userid":"N1"}}}'
    )


def test_what_one_side_seals_the_other_opens() -> None:
    plain, document = US.open(THEM.seal(MESSAGE, signed_at="20261122120000"))
    assert {name: document[name] for name in MESSAGE} == MESSAGE
    assert json.loads(plain) == document
    assert document["signature"]["sigtim"] == "20261122120000"  # type: ignore[index]


def test_the_signature_stands_where_the_bank_looks_for_it() -> None:
    """Signed: the whole text with the placeholder; in its place 64 bytes, r and s, in base64."""
    text = decrypted(US.seal({"request": {"head": {}}}, signed_at="20261122120000"))
    stated = json.loads(text)["signature"]["sigdat"]
    assert len(base64.b64decode(stated)) == 64
    signed = text.replace(stated, PLACEHOLDER)
    assert signed == (
        '{"request":{"head":{}},"signature":{"sigdat":"__signature_sigdat__","sigtim":"20261122120000"}}'
    )
    assert gmssl_pyx.sm2_verify(
        public_key_of(OURS), signed.encode(), der_signature(base64.b64decode(stated)), b"N003261207000000"
    )


def test_an_answer_may_be_signed_as_it_is_sent_or_with_its_keys_sorted() -> None:
    unsorted = '{"signature": {"sigtim": "1", "sigdat": "%s"}, "response": {"b": 1.10, "a": "x"}}'
    for signed in (unsorted % PLACEHOLDER, canonical(
        {"response": {"a": "x", "b": Number("1.10")}, "signature": {"sigdat": PLACEHOLDER, "sigtim": "1"}}
    )):
        signature = raw_signature(
            gmssl_pyx.sm2_sign(THEIRS, public_key_of(THEIRS), signed.encode(), padded_id(USER))
        )
        _, document = US.open(encrypted(unsorted % base64.b64encode(signature).decode()))
        assert document["response"] == {"b": Number("1.10"), "a": "x"}


def test_numbers_keep_their_text() -> None:
    _, document = US.open(THEM.seal({"response": {"n": Number("0.30000000000000004")}}, signed_at="1"))
    assert document["response"] == {"n": Number("0.30000000000000004")}
    assert Decimal(document["response"]["n"].text) == Decimal("0.30000000000000004")  # type: ignore[index]


def test_a_stranger_and_ourselves_are_not_the_bank() -> None:
    stranger = Envelope(
        user_id=USER, private_key=bytes.fromhex("22" * 32), their_public_key=public_key_of(OURS), key=KEY
    )
    for other in (stranger, US):
        with pytest.raises(NotGenuine, match="signature"):
            US.open(other.seal(MESSAGE, signed_at="1"))


@pytest.mark.parametrize("change", [{"key": b"another-16-bytes"}, {"user_id": "N003261208"}])
def test_another_key_or_user_opens_nothing(change: dict[str, object]) -> None:
    other = Envelope(**{
        "user_id": USER, "private_key": OURS, "their_public_key": public_key_of(THEIRS), "key": KEY, **change
    })  # type: ignore[arg-type]
    with pytest.raises(NotGenuine):
        other.open(THEM.seal(MESSAGE, signed_at="1"))


@settings(max_examples=60)
@given(st.data())
def test_every_changed_byte_is_noticed(data: st.DataObject) -> None:
    sealed = bytearray(base64.b64decode(THEM.seal(MESSAGE, signed_at="20261122120000")))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(NotGenuine):
        US.open(base64.b64encode(bytes(sealed)))


@pytest.mark.parametrize("text", ["[]", "7", '{"a":NaN}', '{"response":{}}', '{"signature":{"sigdat":"AA=="}}',
                                  '{"signature":{"sigdat":7}}', '{"signature":{"sigdat":"not base64"}}', "[" * 9000])
def test_what_was_not_signed_is_not_taken(text: str) -> None:
    with pytest.raises(NotGenuine):
        US.open(encrypted(text))


@pytest.mark.parametrize("content", [b"", b"!!!", b"CDCServer:ErrMsg", b"QUJD", b'{"response":{}}'])
def test_what_is_no_sealed_message_is_said_as_such(content: bytes) -> None:
    with pytest.raises(EnvelopeBroken):
        US.open(content)


def test_keys_are_read_in_the_notations_of_the_key_tool() -> None:
    raw = bytes.fromhex(PRIVATE)
    for text in (PRIVATE, PRIVATE.lower(), base64.b64encode(raw).decode(), f" {PRIVATE}\n"):
        assert private_key_from(text) == raw
    for text in (PUBLIC, "04" + PUBLIC, base64.b64encode(bytes.fromhex("04" + PUBLIC)).decode()):
        assert public_key_from(text) == bytes.fromhex(PUBLIC)
    assert sm4_key_from("VuAzSWQhsoNqzn0K\n") == b"VuAzSWQhsoNqzn0K"
    assert sm4_key_from(SM4) == bytes.fromhex(SM4)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (private_key_from, "00" * 32), (private_key_from, "FF" * 32), (private_key_from, PRIVATE[:-2]),
        (private_key_from, "secret-nonsense"), (public_key_from, "05" + PUBLIC), (public_key_from, PUBLIC[:-2] + "14"),
        (public_key_from, "FF" * 64), (public_key_from, ""), (sm4_key_from, "fifteen-letters"),
        (sm4_key_from, "g" * 32), (sm4_key_from, "十六个字十六个字十六个字十六个字"),
    ],
)
def test_a_key_that_is_none_is_refused_without_being_shown(read: object, text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(text)  # type: ignore[operator]
    assert not text or text not in str(refused.value)


def test_without_the_extra_the_error_names_it() -> None:
    """In a process of its own, in which the package cannot be imported."""
    script = (
        "import sys; sys.modules['gmssl_pyx'] = None\n"
        "import escrow_monitor.banks.connectors\n"
        "from escrow_monitor.banks.sm_envelope import Envelope\n"
        "from escrow_monitor.errors import ConfigurationError\n"
        "try:\n"
        "    Envelope(user_id='N1', private_key=b'1'*32, their_public_key=b'1'*64, key=b'1'*16)\n"
        "except ConfigurationError as error:\n"
        "    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "escrow-monitor[sm]" in said.stdout
