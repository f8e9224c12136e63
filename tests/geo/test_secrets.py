import re
from dataclasses import replace
from os import urandom

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from geo.secrets import (
    SUITES,
    UNNUMBERED,
    Key,
    Personal,
    Suite,
    carried,
    fingerprint,
    identity,
    looks_personal,
    lookup,
    mask,
    normalised,
    seal,
    sealed_by,
    unseal,
)

each_suite = pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
KEYS = {name: Key(7, suite, urandom(32), urandom(32)) for name, suite in SUITES.items()}
KEY = KEYS["aes-256-gcm"]
PLACE = "posts|0190|phone"


def other(key: Key) -> Key:
    """Another key of the same number and suite."""
    return replace(key, encryption=urandom(32), hashing=urandom(32))


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("10012341234", "100****1234"),
        ("+86 138-0000-1234", "138****1234"),
        ("１３８００００１２３４", "138****1234"),
        ("0574-87651234", "057****1234"),
        ("87651234", "****1234"),
        ("12345", "****45"),
        ("5", "****"),
        ("990101199001011234", "990***********1234"),
        ("张三", "张*"),
        ("欧阳小小", "欧*"),
        ("  ", ""),
    ],
)
def test_masked(value: str, seen: str) -> None:
    assert mask(value) == seen


@given(st.text())
def test_a_mask_never_shows_seven_digits_running_nor_a_whole_name(value: str) -> None:
    seen = mask(value)
    assert not re.search("[0-9]{7}", seen)  # what the database's CHECK asks
    assert not seen or "*" in seen


texts = st.text().map(lambda text: text.encode("utf-8", "ignore").decode())


@each_suite
@given(value=texts, place=texts)
def test_what_is_sealed_opens_in_its_place_only(suite: Suite, value: str, place: str) -> None:
    key = KEYS[suite.name]
    sealed = seal(value, key, place)
    assert sealed_by(sealed) == (suite, 7)
    assert unseal(sealed, key, place) == value
    for wrong, about in ((other(key), place), (key, place + "x")):
        with pytest.raises(InvalidTag):
            unseal(sealed, wrong, about)


@each_suite
@given(place=st.integers(0), change=st.integers(1, 255))
def test_a_changed_byte_is_found(suite: Suite, place: int, change: int) -> None:
    key = KEYS[suite.name]
    sealed = bytearray(seal("10012341234", key, PLACE))
    sealed[place % len(sealed)] ^= change
    with pytest.raises((InvalidTag, ValueError)):
        unseal(bytes(sealed), key, PLACE)


@each_suite
@given(cipher=st.binary(max_size=80))
def test_what_is_no_cipher_is_refused(suite: Suite, cipher: bytes) -> None:
    with pytest.raises((InvalidTag, ValueError)):
        unseal(cipher, KEYS[suite.name], PLACE)


def test_a_cipher_from_before_keys_had_numbers_opens() -> None:
    key, nonce = replace(KEY, number=1), urandom(12)
    old = UNNUMBERED + nonce + AESGCM(key.encryption).encrypt(nonce, b"10012341234", PLACE.encode())
    assert unseal(old, key, PLACE) == "10012341234"
    for wrong, about in ((other(key), PLACE), (key, "posts|0191|phone")):
        with pytest.raises(InvalidTag):
            unseal(old, wrong, about)
    with pytest.raises(ValueError, match="another key"):
        unseal(old, KEY, PLACE)


def test_suites_and_keys_do_not_pass_for_one_another() -> None:
    sealed = seal("10012341234", KEY, PLACE)
    with pytest.raises(ValueError, match="another key"):
        unseal(sealed, replace(KEY, number=8), PLACE)
    with pytest.raises(ValueError, match="another key"):
        unseal(sealed, KEYS["sm4-gcm"], PLACE)
    # The head is sealed too: one that is made to look like another's does not open.
    renumbered = bytes([sealed[0]]) + (8).to_bytes(2) + sealed[3:]
    with pytest.raises(InvalidTag):
        unseal(renumbered, replace(KEY, number=8), PLACE)


def test_sm4_and_sm3_are_those_of_the_standards() -> None:
    # RFC 8998, appendix A.1 (SM4-GCM), and the first example of GB/T 32905-2016 (SM3).
    suite = SUITES["sm4-gcm"]
    key, nonce = bytes.fromhex("0123456789abcdeffedcba9876543210"), bytes.fromhex("00001234567800000000abcd")
    encryptor = Cipher(suite.algorithm(key), modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"))
    sealed = encryptor.update(b"".join(bytes([byte] * 8) for byte in bytes.fromhex("aabbccddeeffeeaa"))) + encryptor.finalize()
    assert sealed.hex().startswith("17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735")
    assert encryptor.tag.hex() == "83de3541e4c2b58177e065a9bf7b62ec"
    digest = hashes.Hash(suite.digest())
    digest.update(b"abc")
    assert digest.finalize().hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"


@each_suite
def test_sealing_twice_tells_nothing(suite: Suite) -> None:
    key = KEYS[suite.name]
    assert seal("10012341234", key, PLACE) != seal("10012341234", key, PLACE)


@pytest.mark.parametrize(
    "spelling",
    [
        "13800001234",
        "138 0000 1234",
        "+86 138-0000-1234",
        "8613800001234",
        "008613800001234",
        "１３８００００１２３４",
    ],
)
def test_a_number_is_found_in_every_spelling(spelling: str) -> None:
    assert normalised(spelling) == "13800001234"
    assert lookup(spelling, KEY) == lookup("13800001234", KEY)
    assert lookup(spelling, other(KEY)) != lookup(spelling, KEY) != lookup(spelling, KEYS["sm4-gcm"])


@each_suite
@given(value=st.from_regex(r"[1-9][0-9]{16}[0-9X]", fullmatch=True))
def test_a_fingerprint_is_carried_from_key_to_key(suite: Suite, value: str) -> None:
    chain = [replace(other(KEYS[suite.name]), number=number) for number in (2, 3, 7)]
    first, last = fingerprint(value, chain[:1]), fingerprint(value, chain)
    assert len(first) == len(last) == 34
    assert carried(first, chain) == carried(last, chain) == last
    assert last != fingerprint(value, chain[2:])  # no key is a shortcut past the others
    assert fingerprint(f" {value[:6]} {value[6:].lower()}", chain) == last
    with pytest.raises(ValueError, match="another key"):
        carried(first, chain[1:])


def test_a_number_without_an_area_code_of_a_country_keeps_its_digits() -> None:
    assert normalised("+86-100-1234-5678") == "10012345678"
    assert normalised("0574-87651234") == "057487651234"


def test_the_check_digit_of_an_id_number() -> None:
    # The standard's own example (GB 11643-1999, annex A).
    assert identity("11010519491231002X")
    assert not identity("110105194912310021")
    assert not identity("330106011014001001")  # a micro-grid's code: no date in it


PHONES = ["13800001234", "", "无"]
PEOPLE = ["张伟", "王芳", "李秀英", "刘洋", "陈静"]
COMMUNITIES = ["澜溪社区", "柳汀社区", "石埠头社区", "渔灯村", "王家村"]


@pytest.mark.parametrize(
    ("title", "values", "kind"),
    [
        ("LXDH", [], Personal.PHONE),
        ("备注一", ["13800138000", "13900139000", None], Personal.PHONE),
        ("编号", ["110105194912310021", "110105194912310022"], None),  # the check digit says no
        ("名称", ["一号楼", "二号楼"], None),
        ("姓名", PEOPLE, Personal.NAME),
        ("户主姓名", PEOPLE, Personal.NAME),
        ("联系人", ["张阿姨"], Personal.NAME),
        ("name", PEOPLE, Personal.NAME),
        ("name", COMMUNITIES, None),
        ("名称", COMMUNITIES, None),
        ("联系电话", ["87650000"], Personal.PHONE),
        ("备注1", PHONES, Personal.PHONE),
        ("说明", ["请找 13800001234 开门", "无"], Personal.PHONE),
        ("f7", ["0574-87650000", "0574-87650001"], Personal.PHONE),
        ("编号", ["11010519491231002X"], Personal.ID_NUMBER),
        ("证件号码", ["E123"], Personal.ID_NUMBER),
        ("出生日期", ["1990-01-01"], Personal.BIRTHDAY),
        ("是否吸毒", ["否"], Personal.REFUSED),
        ("社矫对象", [], Personal.REFUSED),
        ("精神障碍等级", ["3"], Personal.REFUSED),
        ("信访情况", [], Personal.REFUSED),
        ("密接类型", [], Personal.REFUSED),
        ("宗教信仰", ["无"], Personal.REFUSED),
        ("备注", ["", "该户有社区矫正对象一名"], Personal.REFUSED),
        ("宗教活动场所", ["有"], None),
        ("网格员数", ["3", "4"], None),
        ("新增阳性数", ["12"], None),
        ("网格编码", ["330106011014001", "330106011014002"], None),
        ("面积", ["1380.5", "139.25"], None),
        ("地址", ["云汀路138号", "望潮路12弄"], None),
    ],
)
def test_columns_about_persons_are_recognised(
    title: str, values: list[str | None], kind: Personal | None
) -> None:
    assert looks_personal(title, values) is kind


@given(st.text(), st.lists(st.text() | st.none() | st.integers() | st.floats()))
def test_no_column_breaks_the_recognising(title: str, values: list[object]) -> None:
    looks_personal(title, values)
