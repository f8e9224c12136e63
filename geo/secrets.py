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
    BANK_CARD = "银行卡号"
    ACCOUNT = "微信或QQ号"
    EMAIL = "电子邮箱"
    PLATE = "车牌号"
    TRAIT = "个人情况"
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
# The same in a column that nobody has said to hold any: not inside a hash, nor behind a decimal point.
TOLD = re.compile(rf"(?<![0-9A-Za-z.]){MOBILE.pattern}(?![0-9A-Za-z])")
LANDLINE = re.compile(r"(?<!\d)\(?0(?:10|2\d|[3-9]\d{2})\)?[- ]?[2-9]\d{6,7}(?!\d)")
ID_NUMBER = re.compile(
    r"(?<!\d)[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\d)"
)
OLD_ID_NUMBER = re.compile(r"[1-9]\d{5}(\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])\d{3}")
EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}", re.A)
# GA 36: province, office, five or six more, of which the last may say what the vehicle is for.
NUMBER_PLATE = re.compile(
    "[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使][A-HJ-NP-Z]\\s?[·.-]?\\s?[A-HJ-NP-Z0-9]{4,5}[A-HJ-NP-Z0-9挂学警港澳领]"
)
# The 100 commonest surnames carry 85 % of the people; with the next 110, more than 95 %.
SURNAMES = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾萧肖田董袁潘蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔谭陆范"
    "汪廖石金韦贾夏付方邹熊白孟秦邱侯江尹薛闫段雷龙黎史陶贺毛郝顾龚邵万覃武钱戴严莫孔向常汤康易乔葛翁施樊耿凌俞华祝柴裘鲍童褚"
    "阮骆盛詹娄房柯屠应章傅卞齐伍卜管左饶岑牛包穆倪庄车申柳岳梅辛洪柏翟欧"
    "霍阎纪舒鲁苗甘卓窦裴席闵麦祁费涂庞晏尤滕屈敖冉荣谷蔺池桂甄单解游阳吉关兰殷"
)
DOUBLE = ("欧阳", "上官", "司徒", "司马", "诸葛", "东方", "皇甫", "尉迟", "公孙", "慕容", "令狐", "夏侯", "宇文", "长孙", "端木")
# Characters that given names are made of, and names of places and of shops seldom end in.
NAMING = frozenset(
    "伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛明超霞刚桂红玲辉玉萍鹏燕淑琴婷宇浩凯健俊帆雪慧颖琳倩欣怡佳悦梓涵轩睿博子萱诗雨晨阳璐瑶莹洁"
    "梅菊兰芬珍凤莲荣贵祥福根财生宝庆国建志忠义仁勤德文武斌彬峰锋波海飞翔龙虎毅诚信友良才学思嘉豪昊泽铭源哲恒瑞翰晓小春夏秋冬云月"
    "华丹莉蓉茜菲薇蕾芸琪珊彤妍娇媛妮蓓露晶岚冰清卫民东亮胜利平立永新成旭光宏康顺昌威振森林炜煜炎烨焕然冉韵歌舒语熙"
)
# How places, offices and shops end, and people hardly ever.
PLACES = tuple(
    "村镇乡街路巷弄里苑园区县市省庄桥河湖山局所站院校馆店厂楼幢栋座号门口厅室组队场寺庙道办部心处台坊府宅湾集屯坝冲榜岗沟坡岛埠堡寨营塘圩"
    "浜泾渡洼坪段期级类层线社会司城头家坞埭畈垟岙墩嘴滩圈甸铺口渠"
)
HONOURED = re.compile("(?:先生|女士|小姐|阿姨|大爷|大妈|叔叔|师傅|老师|主任|书记|经理|某|某某|[*＊×xX]{1,2})$")
PERSONS = (
    "姓名|户主|联系人|联络人|负责人|责任人|法人|法定代表人|法人代表|经办人|经营者|业主|房东|租户|承租人|申请人|投诉人|举报人|报告人|诉求人|来电人|当事人"
    "|监护人|紧急联系|网格员|网格长|楼长|楼道长|志愿者|党员|楼栋长|单元长|片长|民警|书记|主任|person|contact|owner|resident|surname"
)
COUNTED = re.compile("(?:数|数量|总数|人数|户数|率|占比|比例|count|num|number|total)$", re.I)
# What a heading names beside a person, or of what the person is: 党员活动室 and 居民小组 are no people.
BESIDE = re.compile(
    "(?:室|站|点|家|小组|队伍|单位|公司|部门|机构|地址|位置|编码|代码|类型|类别|状态|时间|日期|职务|岗位|办公|方式|id|code|type|date|address)$", re.I
)
TITLES: dict[Personal, re.Pattern[str]] = {
    Personal.REFUSED: re.compile(
        "涉毒|吸毒|戒毒(?!所|中心|医院)|社矫(?!中心|所)|(?:社区)?矫正(?:对象|人员|类别|情况|期)|社区矫正(?!中心|机构|所)|刑满|刑释|安置帮教|精神障碍|精神病(?!医?院)|精障|肇事肇祸"
        "|信访(?!办|局|室|接待|大厅|中心|部门|渠道)|上访|缠访|访民|密接(?!.{0,2}(?:点|场所|区|酒店))|次密|密切接触|阳性(?!植物)|确诊|感染者|重点人员|重点人口|重点人群|邪教|法轮功|艾滋|hiv|犯罪(?:记录|前科)|前科|服刑"
        "|宗教(?!.{0,2}(?:场所|活动|设施|建筑|团体|院校))|信仰|信教|教派",
        re.I,
    ),
    Personal.ID_NUMBER: re.compile("身份证|证件号|公民身份|id_?card|idno|identity_?(?:no|num|card)|passport|护照|sfzh|社保卡?号|医保卡?号|居住证号", re.I),
    Personal.BANK_CARD: re.compile("银行卡|银行账[号户]|卡号|开户账?号|bank_?(?:card|account)|iban|yhkh", re.I),
    Personal.BIRTHDAY: re.compile("出生|生日|birth|(?:^|_)dob(?:$|_)", re.I),
    Personal.PHONE: re.compile("手机|电话|联系方式|mobile(?!_?home)|phone|(?:^|_)tel|lxdh|sjh|dianhua|shouji", re.I),
    Personal.ACCOUNT: re.compile("微信(?!群|公众)|qq号|qq账|(?:^|_)qq(?:$|_)|wechat|weixin|抖音号|支付宝账?号", re.I),
    Personal.EMAIL: re.compile("邮箱|电子邮件|e-?_?mail", re.I),
    Personal.PLATE: re.compile("车牌|号牌|plate_?(?:no|num)|cphm?$", re.I),
    Personal.NAME: re.compile(f"{PERSONS}|^居民(?:姓?名)?$|^医生$|^xm$|xingming|full_?name|person_?name", re.I),
    Personal.TRAIT: re.compile(
        "^(?:性别|年龄|民族|籍贯|婚姻(?:状况)?|文化程度|学历|政治面貌|血型|病史|疾病|健康状况|残疾(?:类别|等级|证号|人证)?|低保|是否低保|职业|工作单位|家庭成员"
        "|与户主关系|gender|sex|ethnic(?:ity)?|nationality|marital(?:_status)?)$", re.I
    ),
}
# Headings under which names stand that are no people's.
PLACED = re.compile(
    "街道|社区|小区|村|路|巷|弄|网格|单位|公司|企业|店|学校|医院|机构|品牌|地址|位置|来源|类型|类别|省|市|区|县|镇|乡|部门|项目|标签|楼|设施|地名|片区|province"
    "|city|district|street|county|town|village|road|school|type|category|source|tag|brand|place|poi|address|zhenjie|cunshe|quxian", re.I
)
# A cell that names such a person is as bad as a column that is titled so: of which category it is, and how that is said.
# Words for a person's state only: a 信访办 is an office, a 宗教场所 a building, a 密接隔离点 a facility.
CATEGORIES: dict[str, str] = {
    "涉毒": "吸毒(?:人员|者|史|前科|对象)?(?!.{0,4}(?:宣传|教育|危害|现象|线索))|涉毒(?:人员|对象|家庭|史|前科)|戒毒人员|强制戒毒(?!所)|瘾君子",
    "社区矫正": "社矫(?:对象|人员)|社区矫正(?:对象|人员)|矫正(?:对象|人员)|刑满释放|刑释人员|两类人员|安置帮教(?:对象|人员)|服刑人员|(?:犯罪|盗窃|诈骗|抢劫)前科|缓刑|假释",
    "精神障碍": "精神障碍(?:患者|者|人员|病人)?(?!.{0,3}(?:机构|中心|医院|康复))|精神病(?:人|患者?|人员|史)|精障(?:人员|患者|者)?|肇事肇祸|精神分裂|抑郁症|躁狂",
    "信访": "上访(?:人员?|户|人|者|群众)|信访(?:人员?|人|户|重点)|缠访|闹访|越级上访|访民",
    "传染病": "密切接触者|密接(?:者|人员|者?家属)?(?!隔离点|场所|点位|管理|区)|次密接|阳性(?:感染者|患者|人员|病例|病人|住户|居民|者)|核酸阳性|抗原阳性|确诊(?:病例|患者|病人|者|人员|感染)|已确诊"
    "|无症状感染者|新冠患者|艾滋(?:病人|病患者|病感染者)|HIV(?:感染|阳性|携带)|梅毒|乙肝(?:携带|患者)|肺结核(?:患者|病人)",
    "宗教信仰": "邪教(?:人员|成员|组织成员)|法轮功|信教(?:人员|群众|者|户)|(?:基督|天主|佛|道|伊斯兰)教?徒|穆斯林|信(?:佛|基督教?|天主教?|伊斯兰教?|道教)(?!息)",
    "重点人员": "重点(?:管控)?人员|重点人口|管控对象|涉稳人员|涉恐人员",
}
STATES = re.compile("|".join(CATEGORIES.values()))
# Whatever tells of such a person has one of these in it: for engines without look-around, to leave the others alone.
HINT = (
    "吸毒|涉毒|戒毒|瘾君子|社矫|矫正|刑满|刑释|两类人员|安置帮教|服刑|前科|缓刑|假释|精神|精障|肇事|抑郁症|躁狂|上访|信访|缠访|闹访|访民|密切接触|密接|阳性|确诊|无症状|新冠"
    "|艾滋|HIV|梅毒|乙肝|肺结核|邪教|法轮功|信教|教徒|佛徒|道徒|督徒|主徒|兰徒|穆斯林|信佛|信基督|信天主|信伊斯兰|信道教|重点人员|重点管控|重点人口|管控对象|涉稳|涉恐"
)


LEFT_OUT = {
    Personal.ID_NUMBER: "证件号码", Personal.PHONE: "电话号码", Personal.REFUSED: "不收的个人情况",
}
GAP = "〔略〕"


def redacted(text: str) -> tuple[str, tuple[str, ...]]:
    """A text without what is not taken in from anybody, or has a place of its own; and what that was."""
    out: list[str] = []

    def without(kind: Personal, pattern: re.Pattern[str], text: str) -> str:
        def instead(found: re.Match[str]) -> str:
            if kind is Personal.ID_NUMBER and not identity(found[0]):
                return found[0]
            if LEFT_OUT[kind] not in out:
                out.append(LEFT_OUT[kind])
            return GAP

        return pattern.sub(instead, text)

    text = without(Personal.ID_NUMBER, ID_NUMBER, text)
    text = without(Personal.PHONE, MOBILE, text)
    text = without(Personal.REFUSED, STATES, text)
    return text, tuple(out)


def looks_personal(title: str, values: Iterable[object]) -> Personal | None:
    """What a column seems to tell about persons, by its header and a sample of its values; None for nothing.

    Meant for columns that no declared field claims: to be dropped and named. In doubt it says yes, save that numbers under
    a title of counting (网格员数) are counts, and that names are a person's only when the values look like it. One cell of a
    refused category makes the column one.
    """
    values = list(values)
    if _counting(_title(title), texts := _texts(values)):
        return None
    if refused_title(title) or any(map(STATES.search, texts)):
        return Personal.REFUSED
    return personal(title, values)


def personal(title: str, values: Iterable[object]) -> Personal | None:
    """The same, whether or not some of the cells, or the title, are of a refused category."""
    title, texts = _title(title), _texts(values)
    return None if _counting(title, texts) else _titled(title, texts) or _held(title, texts)


def _counting(title: str, texts: Sequence[str]) -> bool:
    return bool(COUNTED.search(title)) and all(re.fullmatch(r"[\d.,%]+", text) for text in texts) and not _id_numbers(texts)


def wholly_personal(values: Iterable[object]) -> Personal | None:
    """What whole cells are about persons, where a declared field that is not personal claims the column: its heading says
    what it ought to be, and a number in a sentence here and there does not make a column of numbers."""
    texts = _texts(values)
    if _share(texts, identity) > 0.05:
        return Personal.ID_NUMBER
    if _share(texts, MOBILE.fullmatch) > 0.5 and _phones(texts):
        return Personal.PHONE
    if len(set(texts)) > 3 and _share(texts, _is_bank_card) > 0.9:
        return Personal.BANK_CARD
    if _share(texts, EMAIL.fullmatch) > 0.5:
        return Personal.EMAIL
    if _share(texts, NUMBER_PLATE.fullmatch) > 0.5:
        return Personal.PLATE
    return Personal.NAME if _names("", texts) else None


def refused(text: str) -> str | None:
    """The category, of those that are taken in from nobody, of the person that a text speaks of; None for none."""
    found = STATES.search(text)
    if found is None:
        return None
    return next(name for name, pattern in CATEGORIES.items() if re.match(pattern, text[found.start() :]))


def refused_title(title: str) -> bool:
    """Whether a heading is of a category that is taken in from nobody."""
    return bool(TITLES[Personal.REFUSED].search(_title(title)))


def _title(title: str) -> str:
    return re.sub(r"[\s_]+", "_", unicodedata.normalize("NFKC", title).strip())


def _texts(values: Iterable[object]) -> list[str]:
    return [
        text
        for value in values
        if value is not None and (text := unicodedata.normalize("NFKC", str(value)).strip())
    ]


NUMBER = re.compile(r"[-+]?\d*\.?\d+")


def _never(_: str) -> bool:
    return False


def _small(text: str) -> bool:
    """A number too short for a telephone: a count of them, or of mobile homes."""
    return bool(NUMBER.fullmatch(text)) and float(text) < 10_000


def _no_age(text: str) -> bool:
    return bool(NUMBER.fullmatch(text)) and not (text.isdigit() and int(text) <= 120)


# What most values must not be for a heading to be believed.
DENIED: dict[Personal, Callable[[str], object]] = {Personal.PHONE: _small}


def _titled(title: str, texts: Sequence[str]) -> Personal | None:
    """By the heading, where the values do not deny it."""
    for kind in (
        Personal.ID_NUMBER, Personal.BANK_CARD, Personal.BIRTHDAY, Personal.PHONE, Personal.ACCOUNT, Personal.EMAIL, Personal.PLATE, Personal.TRAIT
    ):
        if TITLES[kind].search(title) and not (texts and _share(texts, DENIED.get(kind, _never)) > 0.9):
            return kind
    # A house has an age too, and so has a share of houses.
    if title.lower() == "age" and not any(map(_no_age, texts)):
        return Personal.TRAIT
    # 初始日期 of a part has the same initials as 出生日期 of a person, who is seldom so young.
    if re.search("(?:^|_)csrq$", title, re.I) and (not texts or _share(texts, lambda text: re.match(r"19[0-9]{2}", text)) > 0.2):
        return Personal.BIRTHDAY
    if TITLES[Personal.NAME].search(title) and not (BESIDE.search(title) and _share(texts, _is_person) < 0.5):
        return Personal.NAME if texts and _share(texts, NUMBER.fullmatch) < 0.5 else None
    return None


def _held(title: str, texts: Sequence[str]) -> Personal | None:
    """By the values alone."""
    if _id_numbers(texts):
        return Personal.ID_NUMBER
    if _phones(texts):
        return Personal.PHONE
    if len(set(texts)) > 3 and _share(texts, _is_bank_card) > 0.9:
        return Personal.BANK_CARD
    # One address of an office in a text of many words makes no column of addresses.
    if _share(texts, EMAIL.fullmatch) > 0.05 or (_share(texts, EMAIL.search) > 0.2 and sum(map(bool, map(EMAIL.search, texts))) > 2):
        return Personal.EMAIL
    if _share(texts, NUMBER_PLATE.fullmatch) > 0.2:
        return Personal.PLATE
    if _share(texts, lambda text: re.fullmatch("wxid_\\w{6,}", text)) > 0.05:
        return Personal.ACCOUNT
    return Personal.NAME if _names(title, texts) else None


def _names(title: str, texts: Sequence[str]) -> bool:
    """Whether a column holds names of persons: most begin with a surname, and many end as given names do.

    Both shares together come to 1.2 and more for nineteen in twenty lists of five invented persons, to 1.35 for lists of
    twenty. Of 60,000 names of streets, villages, schools and shops, with their 街道 or 村 taken off, no five pass 1.2, no
    ten 0.9, no twenty 0.7.
    """
    different = sorted(set(texts))
    if PLACED.search(title) or len(different) < 3:
        return False
    share = _share(different, _is_name) + _share(different, lambda text: _is_name(text) and text[-1] in NAMING)
    return share > (1.21 if len(different) < 10 else 0.95 if len(different) < 20 else 0.8)


def _id_numbers(texts: Sequence[str]) -> bool:
    """Whether citizens' numbers are among the texts. Codes of eighteen digits may have a date and, one in eleven, the right
    check digit: where whole cells look so, more than half must."""
    whole = [text for text in texts if ID_NUMBER.fullmatch(text)]
    if whole and sum(map(identity, whole)) > len(whole) / 2 and len(whole) > len(texts) / 100:
        return True
    if _share(texts, lambda text: not ID_NUMBER.fullmatch(text) and _holds_id_number(text)) > 0.01:
        return True
    old = [found for text in texts if (found := OLD_ID_NUMBER.fullmatch(text))]
    # Fifteen digits had no check digit, and codes of grids have as many: there must be many, of all months, none otherwise.
    return len(old) >= 10 and len(old) == len(texts) and len({found[2] for found in old}) >= 6 and len({found[1] for found in old}) >= 6


def _phones(texts: Sequence[str]) -> bool:
    # The digits behind a decimal point are no telephone; nor are eleven digits that all begin with one division's six.
    told = [text for text in texts if not re.fullmatch(r"[-+]?\d*\.\d+", text)]
    if len(told) > 4 and all(re.fullmatch(r"\d{11}", text) for text in told) and len({text[:6] for text in told}) == 1:
        return False
    return len(list(filter(TOLD.search, told))) > len(texts) / 20 or _share(texts, lambda text: LANDLINE.fullmatch(text) and not text.isdigit()) > 0.5


def _is_bank_card(text: str) -> bool:
    """Whether these are the 16 to 19 digits of a card: a network's first ones, and the check digit by Luhn."""
    digits = re.sub(r"[\s-]", "", text)
    if not re.fullmatch(r"(?:62|4\d|5[1-5]|35|60|9[45])\d{14,17}", digits):
        return False
    doubled = [int(digit) * (1 + at % 2) for at, digit in enumerate(reversed(digits))]
    return sum(number - 9 * (number > 9) for number in doubled) % 10 == 0


def identity(text: str) -> bool:
    """Whether these are the 18 characters of a citizen's number: date, and check digit by GB 11643 (mod 11-2)."""
    if not ID_NUMBER.fullmatch(text):
        return False
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(text[:17]))
    return text[17].upper() == "10X98765432"[total % 11]


def _holds_id_number(text: str) -> bool:
    return any(identity(found[0]) for found in ID_NUMBER.finditer(text))


def _is_person(text: str) -> bool:
    return _is_name(text) or bool(HONOURED.search(text))


def _is_name(text: str) -> bool:
    if re.fullmatch(r"[一-鿿]{1,8}[·•‧][一-鿿]{1,8}(?:[·•‧][一-鿿]{1,8})?", text):
        return not text.endswith(PLACES)
    return (
        (2 <= len(text) <= 3 or (len(text) == 4 and text.startswith(DOUBLE)))
        and (text[0] in SURNAMES or text.startswith(DOUBLE))
        and not text.endswith(PLACES)
        and re.fullmatch(r"[一-鿿]+", text) is not None
    )


def _share(texts: Sequence[str], matches: Callable[[str], object]) -> float:
    return sum(bool(matches(text)) for text in texts) / len(texts) if texts else 0.0
