"""Secret fields: shown masked, kept as cipher, found again by keyed hash. And what looks as if it ought to be one.

Pure functions; the keys (32 bytes each) are handed in. A bare hash of a phone number is reversible by trying them all,
so the hash is keyed; a cipher copied to another row or column does not open, because it is bound to its place.
"""

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from os import urandom

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# The first byte says how the rest was made, so that a later scheme can live beside this one.
VERSION = b"\x01"
NONCE = 12


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


def seal(value: str, key: bytes, about: str) -> bytes:
    """The cipher of a value: version byte, nonce, AES-256-GCM with its tag, bound to `about` ("table|id|column")."""
    nonce = urandom(NONCE)
    return VERSION + nonce + AESGCM(key).encrypt(nonce, value.encode(), about.encode())


def unseal(cipher: bytes, key: bytes, about: str) -> str:
    """What `seal` was given. Raises `cryptography.exceptions.InvalidTag` for another key, row or altered cipher."""
    if cipher[:1] != VERSION:
        raise ValueError("unknown cipher version")
    nonce = cipher[1 : 1 + NONCE]
    return AESGCM(key).decrypt(nonce, cipher[1 + NONCE :], about.encode()).decode()


def lookup(value: str, key: bytes) -> bytes:
    """HMAC-SHA-256 of the normalised number: equal for equal numbers, and nothing without the key."""
    return hmac.digest(key, normalised(value).encode(), hashlib.sha256)


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
