import re

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from geo.secrets import Personal, identity, looks_personal, lookup, mask, normalised, seal, unseal

KEY, OTHER = AESGCM.generate_key(256), AESGCM.generate_key(256)
PLACE = "posts|0190|phone"


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


@given(st.text(), st.text())
def test_what_is_sealed_opens_in_its_place_only(value: str, place: str) -> None:
    value, place = (text.encode("utf-8", "ignore").decode() for text in (value, place))
    sealed = seal(value, KEY, place)
    assert unseal(sealed, KEY, place) == value
    for key, aad in ((OTHER, place), (KEY, place + "x")):
        with pytest.raises(InvalidTag):
            unseal(sealed, key, aad)


@given(st.integers(0), st.integers(1, 255))
def test_a_changed_byte_is_found(place: int, change: int) -> None:
    sealed = bytearray(seal("10012341234", KEY, PLACE))
    sealed[place % len(sealed)] ^= change
    with pytest.raises((InvalidTag, ValueError)):
        unseal(bytes(sealed), KEY, PLACE)


def test_sealing_twice_tells_nothing() -> None:
    assert seal("10012341234", KEY, PLACE) != seal("10012341234", KEY, PLACE)


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
    assert lookup(spelling, OTHER) != lookup(spelling, KEY)


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
