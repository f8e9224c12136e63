"""Personal values: how they are shown, how they are kept, how they are found again, and how they are recognised.

Pure functions over keys that are passed in; nothing here reads a file or a database.
"""

import hashlib
import hmac
import os
import re
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\x01"
NONCE = 12

MOBILE = re.compile(r"(?:\+?86[- ]?)?1[3-9]\d{9}")
IDENTITY = re.compile(r"[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx]")
# Column titles under which people keep people.
TITLES = {
    "姓名": re.compile(r"姓名|联系人|户主|负责人姓名|居民名|^xm$|fullname|person_?name", re.I),
    "电话": re.compile(r"电话|手机|联系方式|phone|mobile|^tel$|lxdh|sjh", re.I),
    "身份证号": re.compile(r"身份证|证件号|公民身份|id_?card|sfzh", re.I),
    "出生日期": re.compile(r"出生|生日|birth", re.I),
}
# What is not taken at all: special control of persons is refused (docs/decisions), health and belief are not ours to keep.
REFUSED = re.compile(r"涉毒|吸毒|社矫|社区矫正|精神障碍|精神病|肇事肇祸|信访|上访|密接|次密|阳性|确诊|宗教|信仰|重点人")


def mask(value: str) -> str:
    """A phone number with only its ends: `138****1234`; of a shorter one less."""
    digits = re.sub(r"\D", "", value)
    if len(digits) >= 10:
        return f"{digits[:3]}****{digits[-4:]}"
    return f"{digits[:1]}****{digits[-2:]}" if len(digits) > 4 else "****"


def seal(value: str, key: bytes, about: str) -> bytes:
    """The cipher of a value (AES-256-GCM), bound to `about` (`table|id|column`): moved to another row it does not open."""
    nonce = os.urandom(NONCE)
    return VERSION + nonce + AESGCM(key).encrypt(nonce, value.encode(), about.encode())


def unseal(cipher: bytes, key: bytes, about: str) -> str:
    """What `seal` was given. Raises `cryptography.exceptions.InvalidTag` for another key, row or altered cipher."""
    if cipher[:1] != VERSION:
        raise ValueError("unknown cipher version")
    nonce = cipher[1 : 1 + NONCE]
    return AESGCM(key).decrypt(nonce, cipher[1 + NONCE :], about.encode()).decode()


def lookup(value: str, key: bytes) -> bytes:
    """The keyed hash by which a value is found again, the same however its digits are spaced.

    Keyed, because a bare hash of a phone number is undone by trying all of them.
    """
    digits = re.sub(r"\D", "", value)
    return hmac.digest(key, (digits.removeprefix("86") if len(digits) == 13 else digits).encode(), hashlib.sha256)


def looks_personal(title: str, values: Sequence[object]) -> str | None:
    """What kind of personal data a column seems to hold, from its title or its values; None for no kind."""
    if REFUSED.search(title):
        return "不收的类别"
    for kind, pattern in TITLES.items():
        if pattern.search(title):
            return kind
    told = [str(value).strip() for value in values if value is not None and str(value).strip()]
    if not told:
        return None
    if sum(bool(IDENTITY.fullmatch(text)) and identity(text) for text in told) * 2 > len(told):
        return "身份证号"
    if sum(bool(MOBILE.fullmatch(text)) for text in told) * 2 > len(told):
        return "电话"
    return None


def identity(number: str) -> bool:
    """Whether the check digit of an 18-digit identity number is right (GB 11643)."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    remainder = sum(int(digit) * weight for digit, weight in zip(number[:17], weights, strict=True)) % 11
    return number[17].upper() == "10X98765432"[remainder]
