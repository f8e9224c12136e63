"""Secret fields: shown masked, kept as cipher, found again by keyed hash. And what looks as if it ought to be one.

Pure functions; the keys are handed in. A bare hash of a phone number is reversible by trying them all, so the hash is
keyed; a cipher copied to another row or column does not open, because it is bound to its place.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from os import urandom

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE = 12
TAG = 16


@dataclass(frozen=True)
class Suite:
    """One way to seal and to hash. `byte` is the first of every cipher made this way, `size` the bytes of its key."""

    name: str
    byte: int
    algorithm: type[algorithms.AES] | type[algorithms.SM4]
    size: int
    digest: type[hashes.HashAlgorithm]


# SM4 (GB/T 32907) and SM3 (GB/T 32905) where a place must pass an assessment of its cryptography; AES and SHA-256 elsewhere.
SUITES = {
    suite.name: suite
    for suite in (
        Suite("aes-256-gcm", 2, algorithms.AES, 32, hashes.SHA256),
        Suite("sm4-gcm", 3, algorithms.SM4, 16, hashes.SM3),
    )
}
# What was sealed before keys had numbers: this byte alone, then as AES-256-GCM by the first key.
UNNUMBERED = b"\x01"


@dataclass(frozen=True)
class Key:
    """What turns a secret field into its cipher and its keyed hash: 32 random bytes each.

    `encryption` is empty for a key of which only the hash is still needed.
    """

    number: int
    suite: Suite
    encryption: bytes = field(repr=False)
    hashing: bytes = field(repr=False)

    @property
    def head(self) -> bytes:
        """The three bytes with which its ciphers begin: the suite's, and its own number."""
        return bytes([self.suite.byte]) + self.number.to_bytes(2)

    @cached_property
    def algorithm(self) -> algorithms.AES | algorithms.SM4:
        """The block cipher with its key: the kept bytes where they fit, else as many as it takes, derived from them."""
        if self.suite.size == len(self.encryption):
            return self.suite.algorithm(self.encryption)
        derived = HKDF(self.suite.digest(), self.suite.size, None, f"jingwei {self.suite.name}".encode())
        return self.suite.algorithm(derived.derive(self.encryption))

    def hashed(self, told: bytes) -> bytes:
        """HMAC of the suite's hash, 32 bytes."""
        keyed = HMAC(self.hashing, self.suite.digest())
        keyed.update(told)
        return keyed.finalize()


class Personal(StrEnum):
    """What a column seems to hold about persons."""

    NAME = "姓名"
    PHONE = "电话"
    ID_NUMBER = "身份证号"
    BIRTHDAY = "出生日期"
    REFUSED = "不收的类别"  # of a kind that is not taken in at all, from nobody


def normalised(value: str) -> str:
    """The digits of a phone number; a mobile number without its country code. One number, one spelling."""
    digits = re.sub(r"\D", "", unicodedata.normalize("NFKC", value), flags=re.ASCII)
    return re.sub(r"^(?:00)?86(?=1\d{10}$)", "", digits)


def mask(value: str) -> str:
    """What people without the right to it see: `138****1234`, `330***********1234`, `张*`.

    Never more than three digits in front and four behind, and never more than half of them.
    """
    text = unicodedata.normalize("NFKC", value).strip()
    if not text:
        return ""
    if ID_NUMBER.fullmatch(text):
        return text[:3] + "*" * 11 + text[-4:]
    digits = normalised(text)
    if len(digits) >= 11:
        return f"{digits[:3]}****{digits[-4:]}"
    if digits:
        return "****" + digits[-min(4, len(digits) // 2) :] if len(digits) > 1 else "****"
    # One star, whatever the length: two characters or three would tell many names apart.
    return text[0] + "*"


def seal(value: str, key: Key, about: str) -> bytes:
    """The cipher of a value: head, nonce, GCM with its tag, bound to head and `about` ("table|id|column")."""
    nonce = urandom(NONCE)
    encryptor = Cipher(key.algorithm, modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(key.head + about.encode())
    return key.head + nonce + encryptor.update(value.encode()) + encryptor.finalize() + encryptor.tag


def unseal(cipher: bytes, key: Key, about: str) -> str:
    """What `seal` was given. Raises `InvalidTag` for another key, row or altered cipher, `ValueError` for what is none."""
    if sealed_by(cipher) != (key.suite, key.number):
        raise ValueError("sealed by another key")
    head = cipher[:1] if cipher[:1] == UNNUMBERED else cipher[:3]
    bound = (b"" if head == UNNUMBERED else head) + about.encode()
    nonce, body, tag = cipher[len(head) : len(head) + NONCE], cipher[len(head) + NONCE : -TAG], cipher[-TAG:]
    decryptor = Cipher(key.algorithm, modes.GCM(nonce, tag)).decryptor()
    decryptor.authenticate_additional_data(bound)
    return (decryptor.update(body) + decryptor.finalize()).decode()


def sealed_by(cipher: bytes) -> tuple[Suite, int]:
    """The suite of a cipher and the number of its key. Raises `ValueError` when it is no cipher of ours."""
    if cipher[:1] == UNNUMBERED and len(cipher) >= 1 + NONCE + TAG:
        return SUITES["aes-256-gcm"], 1
    suite = next((suite for suite in SUITES.values() if cipher[:1] == bytes([suite.byte])), None)
    if suite is None or len(cipher) < 3 + NONCE + TAG:
        raise ValueError("unknown cipher")
    return suite, int.from_bytes(cipher[1:3])


def lookup(value: str, key: Key) -> bytes:
    """Keyed hash of the normalised number, 32 bytes: equal for equal numbers, and nothing without the key."""
    return key.hashed(normalised(value).encode())


def fingerprint(value: str, chain: Sequence[Key]) -> bytes:
    """What is kept of a value that is never to be read again: the number of the last key of `chain`, then 32 bytes.

    There is no cipher to hash anew when keys change, so each key hashes what the one before it made: a new key takes
    every kept value along, and an old one that leaks opens nothing by itself.
    """
    plain = re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", value).upper())
    told = b"fingerprint\0" + plain.encode()
    for key in chain:
        told = key.hashed(told)
    return chain[-1].number.to_bytes(2) + told


def carried(kept: bytes, chain: Sequence[Key]) -> bytes:
    """A fingerprint as the later keys of `chain` make it of the one that is kept."""
    number, told = int.from_bytes(kept[:2]), kept[2:]
    if number not in (key.number for key in chain):
        raise ValueError("hashed by another key")
    for key in chain:
        if key.number > number:
            number, told = key.number, key.hashed(told)
    return number.to_bytes(2) + told


MOBILE = re.compile(r"(?<!\d)(?:(?:\+|00)?86[- ]?)?1[3-9]\d(?:[- ]?\d{4}){2}(?!\d)")
LANDLINE = re.compile(r"(?<!\d)\(?0(?:10|2\d|[3-9]\d{2})\)?[- ]?[2-9]\d{6,7}(?!\d)")
ID_NUMBER = re.compile(
    r"(?<!\d)[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\d)"
)
# The 100 commonest surnames carry 85 % of the people; with the next 80, well over nine tenths.
SURNAMES = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾萧肖田董袁潘蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔谭陆范"
    "汪廖石金韦贾夏付方邹熊白孟秦邱侯江尹薛闫段雷龙黎史陶贺毛郝顾龚邵万覃武钱戴严莫孔向常汤康易乔葛翁施樊耿凌俞华祝柴裘鲍童褚"
    "阮骆盛詹娄房柯屠应章傅卞齐伍卜管左饶岑牛包穆倪庄车申柳岳梅辛洪柏翟欧"
)
PLACES = tuple("村镇乡街路巷弄里苑园区县市省庄桥河江湖山局所站院校馆店厂楼幢栋座号门口厅室组队场寺庙")
PERSONS = (
    "姓名|户主|联系人|负责人|责任人|法人|法定代表人|经办人|业主|房东|租户|承租人|居民|申请人|投诉人|举报人|报告人|诉求人|来电人|当事人"
    "|监护人|紧急联系|网格员|网格长|楼长|楼道长|志愿者|党员|楼栋长|单元长|医生|民警|书记|主任|person|contact|owner|resident|surname"
)
COUNTED = re.compile("(?:数|数量|总数|人数|户数|率|占比|比例|count|num|number|total)$", re.I)
TITLES: dict[Personal, re.Pattern[str]] = {
    Personal.REFUSED: re.compile(
        "涉毒|吸毒|戒毒|社矫|社区矫正|刑满|刑释|精神障碍|精神病|精障|信访|上访|访民|密接|次密|阳性|确诊|重点人员|重点人口|邪教|艾滋|hiv"
        "|宗教(?!.{0,2}(?:场所|活动|设施|建筑))|信仰|信教",
        re.I,
    ),
    Personal.ID_NUMBER: re.compile("身份证|证件号|公民身份|id_?card|idno|identity|passport|护照|sfzh", re.I),
    Personal.BIRTHDAY: re.compile("出生|生日|birth|dob|csrq", re.I),
    Personal.PHONE: re.compile("手机|电话|联系方式|mobile|phone|(?:^|_)tel|lxdh|sjh|dianhua|shouji", re.I),
    Personal.NAME: re.compile(f"{PERSONS}|^xm$|xingming|居民名|full_?name|person_?name", re.I),
}
# A column of remarks that names such a person is as bad as a column that is titled so. Words for a person's state only:
# a 信访办 is an office and a 宗教场所 a building.
STATES = re.compile(
    "吸毒人员|涉毒人员|戒毒人员|社矫对象|社区矫正对象|矫正人员|刑满释放|刑释人员|精神障碍患者|精神病人|精神病患|肇事肇祸"
    "|上访人员|信访人员|上访户|密切接触者|密接者|密接人员|次密接|阳性感染者|核酸阳性|确诊病例|邪教人员|艾滋病人|重点人员|重点人口"
)


def looks_personal(title: str, values: Iterable[object]) -> Personal | None:
    """What a column seems to tell about persons, by its header and a sample of its values; None for nothing.

    Meant for columns that no declared field claims: to be dropped and named. In doubt it says yes, save that numbers under
    a title of counting (网格员数) are counts, and that `name` is a person's only when the values look like it.
    """
    title = re.sub(r"[\s_]+", "_", unicodedata.normalize("NFKC", title).strip())
    texts = [
        text
        for value in values
        if value is not None and (text := unicodedata.normalize("NFKC", str(value)).strip())
    ]
    counting = bool(COUNTED.search(title)) and all(re.fullmatch(r"[\d.,%]+", text) for text in texts)
    if counting and not any(map(_holds_id_number, texts)):
        return None
    if TITLES[Personal.REFUSED].search(title) or any(map(STATES.search, texts)):
        return Personal.REFUSED
    if TITLES[Personal.ID_NUMBER].search(title) or _share(texts, _holds_id_number) > 0.01:
        return Personal.ID_NUMBER
    for kind in (Personal.BIRTHDAY, Personal.PHONE):
        if TITLES[kind].search(title):
            return kind
    if _share(texts, MOBILE.search) > 0.05 or _share(texts, LANDLINE.fullmatch) > 0.5:
        return Personal.PHONE
    if TITLES[Personal.NAME].search(title) and _share(texts, lambda text: not text.isdigit()) > 0.5:
        return Personal.NAME
    if re.fullmatch("(?:user_?)?name|名字|名称|称呼|人员", title, re.I) and _share(texts, _is_name) > 0.8:
        return Personal.NAME
    return None


def identity(text: str) -> bool:
    """Whether these are the 18 characters of a citizen's number: date, and check digit by GB 11643 (mod 11-2)."""
    if not ID_NUMBER.fullmatch(text):
        return False
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(text[:17]))
    return text[17].upper() == "10X98765432"[total % 11]


def _holds_id_number(text: str) -> bool:
    return any(identity(found[0]) for found in ID_NUMBER.finditer(text))


def _is_name(text: str) -> bool:
    return (
        2 <= len(text) <= 4
        and text[0] in SURNAMES
        and not text.endswith(PLACES)
        and re.fullmatch(r"[一-鿿]+", text) is not None
    )


def _share(texts: Sequence[str], matches: Callable[[str], object]) -> float:
    return sum(bool(matches(text)) for text in texts) / len(texts) if texts else 0.0
