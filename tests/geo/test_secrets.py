"""Personal values: shown in part, kept sealed, found by a keyed hash, recognised in a stranger's file."""

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from geo import secrets

KEY, OTHER = bytes(range(32)), bytes(32)


@given(st.from_regex(r"1[0-9]{10}", fullmatch=True))
def test_a_mask_keeps_less_than_finds_a_person(number):
    shown = secrets.mask(number)
    assert shown == f"{number[:3]}****{number[-4:]}"
    assert number not in shown


@pytest.mark.parametrize("number", ["", "1", "110", "87654321", "0571-8765432", "+86 100 1234 5678"])
def test_a_mask_never_shows_seven_digits_in_a_row(number):
    import re

    assert not re.search(r"\d{7}", secrets.mask(number))


@given(st.text(min_size=1))
def test_what_is_sealed_opens_only_where_it_belongs(value):
    cipher = secrets.seal(value, KEY, "posts|1|phone")
    assert secrets.unseal(cipher, KEY, "posts|1|phone") == value
    for key, about in ((OTHER, "posts|1|phone"), (KEY, "posts|2|phone")):
        with pytest.raises(InvalidTag):
            secrets.unseal(cipher, key, about)
    with pytest.raises(InvalidTag):
        secrets.unseal(cipher[:-1] + bytes([cipher[-1] ^ 1]), KEY, "posts|1|phone")
    assert secrets.seal(value, KEY, "posts|1|phone") != cipher


def test_a_number_is_found_however_it_is_written():
    assert len({secrets.lookup(n, KEY) for n in ("10012345678", "100 1234 5678", "+86-100-1234-5678")}) == 1
    assert secrets.lookup("10012345678", KEY) != secrets.lookup("10012345678", OTHER)


@pytest.mark.parametrize(
    ("title", "values", "kind"),
    [
        ("姓名", ["甲"], "姓名"),
        ("LXDH", [], "电话"),
        ("备注一", ["13800138000", "13900139000", None], "电话"),
        ("编号", ["110101199003077758", "11010119900307721X"], "身份证号"),
        ("编号", ["110101199003077759", "110101199003077757"], None),  # the check digit says no
        ("出生日期", [], "出生日期"),
        ("是否吸毒", ["否"], "不收的类别"),
        ("名称", ["一号楼", "二号楼"], None),
        ("网格编码", ["330106011014001"], None),
    ],
)
def test_columns_about_people_are_recognised(title, values, kind):
    if kind == "身份证号":
        values = [v for v in values if secrets.identity(v)] or [_valid()]
    assert secrets.looks_personal(title, values) == kind


def _valid() -> str:
    body = "11010119900307775"
    return next(body + digit for digit in "0123456789X" if secrets.identity(body + digit))
