import re
from dataclasses import replace
from os import urandom
from random import Random

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from geo.secrets import (
    CATEGORIES,
    HINT,
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
    refused,
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


@pytest.mark.parametrize(
    ("title", "values", "kind"),
    [
        ("f1", ["110105491231002"] * 3, None),
        ("身份证", ["110105491231002"], Personal.ID_NUMBER),
        ("备注", ["证号11010519491231002X", "无"], Personal.ID_NUMBER),
        ("编码", ["330106200101010019", "330106200101020013", "330106200101030018"], None),  # dates in them, by chance
        ("f1", ["6222021234567890128", "6222021234567890136", "6222021234567890144", "6222021234567890151"], Personal.BANK_CARD),
        ("f1", ["6222021234567890123", "6222021234567890124", "6222021234567890125", "6222021234567890126"], None),
        ("银行卡号", ["无"], Personal.BANK_CARD),
        ("微信号", ["zhang123"], Personal.ACCOUNT),
        ("是否加入微信群", ["是"], None),
        ("QQ", ["123456"], Personal.ACCOUNT),
        ("f1", ["wxid_ab12cd34", ""], Personal.ACCOUNT),
        ("f1", ["zhang@example.com", ""], Personal.EMAIL),
        ("E-mail", [], Personal.EMAIL),
        ("f1", ["浙B12345", "浙B·D12345", "沪A1234学"], Personal.PLATE),
        ("车牌号", [], Personal.PLATE),
        ("民族", ["汉族"], Personal.TRAIT),
        ("民族村", ["是"], None),
        ("性别", ["男"], Personal.TRAIT),
        ("CSRQ", ["1975-03-05", "1949-12-31"], Personal.BIRTHDAY),
        ("CSRQ", ["2019-03-05", "2021-12-31"], None),  # 初始日期 of a part
        ("党员活动室", ["一楼", "二楼"], None),
        ("居民小组", ["第一组", "第二组"], None),
        ("负责人单位", ["望汀物业公司", "云汀街道办"], None),
        ("负责人", ["张伟", "王芳"], Personal.NAME),
        ("联系人2", ["李女士"], Personal.NAME),
        ("f3", ["阿不都热合曼·买买提", "古丽·艾则孜", "买买提·吐尔逊"], None),  # two readings in three: too few to say
        ("矩阵", ["13800138000.5", "0.13800138000"], None),
        ("hash", ["145ad664ed60a1b2c3", "bb4a13800138000bb"], None),
        ("事项编码", ["13010206010", "13010206011", "13010206012", "13010207003", "13010207005"], None),  # a province's codes
        ("信访办地址", ["云汀路1号"], None),
        ("社区矫正中心", ["有"], None),
        ("密接隔离点", ["有"], None),
        ("MOBILEHOME", ["0", "12", "3"], None),
        ("mobile", ["0", "12", "3"], None),
        ("BKG_KEY", ["060750179029", "060750101001"], None),  # a code with a leading nought is no landline
        ("Xm", ["4069.397", "4639.371"], None),
        ("XM", ["张伟", "王芳"], Personal.NAME),
        ("AGE", ["148", "9", "23"], None),  # of houses
        ("age", ["97.4", "83.4"], None),
        ("age", ["34", "61"], Personal.TRAIT),
    ],
)
def test_more_columns_about_persons(title: str, values: list[object], kind: Personal | None) -> None:
    assert looks_personal(title, values) is kind


SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾肖田董袁潘蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔谭陆范汪廖石金韦贾夏付方邹熊白孟秦邱侯江"
    "尹薛闫段雷龙黎史陶贺毛郝顾龚邵万覃武钱戴严莫孔向常汤"
)
SELDOM = ("欧阳", "司徒", "仇", "佟", "仲", "乌", "敬", "幸", "海", "楚", "沙", "丛", "候", "巩", "税", "么")
GIVEN = re.findall(
    r"\S+",
    "建国 建华 秀英 桂英 志强 国强 小明 丽娟 晓燕 海燕 俊杰 子涵 浩然 欣怡 一诺 梓轩 宇轩 雨桐 思源 文博 佳琪 天佑 若曦 家豪 嘉怡 雅婷 志远 春梅 玉兰 素珍"
    " 凤英 大勇 红卫 爱国 跃进 卫东 铁柱 翠花 二妹 阿宝 招娣 来喜 有才 长根 水生 金宝 木兰 伯年 仲谋 静怡 思思 诗涵 梦琪 可欣 奕辰 沐宸 艺馨 汐 洋 涛 磊 静 敏 杰"
    " 娟 艳 丹 凡 宁 毅 恒 昕 岩 峥 楠 婧 霖 瑾 璇 颖 薇 旭 晗 钧 鑫 炜 奇 鸣 一鸣 安琪 若兰 之遥 明远 承志 启航 泽宇 景行 庆丰 福生 进财 永贵 德胜 兴旺 国栋 振华",
)


def invented(random: Random) -> str:
    """A name of nobody: surnames as often as people have them, one in twenty a rare one."""
    rare = random.random() < 0.05
    return (random.choice(SELDOM) if rare else SURNAMES[min(int(random.expovariate(0.04)), len(SURNAMES) - 1)]) + random.choice(GIVEN)


@pytest.mark.parametrize("title", ["name", "名称", "f1", "备注"])
@pytest.mark.parametrize(("rows", "recall"), [(10, 0.95), (20, 0.98), (50, 0.99)])
def test_invented_persons_are_recognised_by_their_names(title: str, rows: int, recall: float) -> None:
    random = Random(rows)
    lists = [[invented(random) for _ in range(rows)] for _ in range(200)]
    assert sum(looks_personal(title, names) is Personal.NAME for names in lists) >= recall * len(lists)


NOBODY = {
    "name": ["澜溪苑", "柳荫小区", "望潮花园", "石埠新村", "云汀家园", "江滨公寓", "白云山庄", "梅林雅居", "金阳府", "高荣里"],
    "名称": ["张记面馆", "李家菜场", "王氏诊所", "陈记五金", "刘海理发店", "周黑鸭", "黄鹤楼", "马场", "朱昌", "夏云"],
    "f1": ["中山路", "解放路", "人民路", "和平路", "建国路", "向阳路", "胜利路", "文化路", "新华路", "光明路"],
    "村": ["王家", "李家", "张庄", "刘庄", "陈家坝", "赵家沟", "孙家湾", "周村", "吴集", "郑屯"],
    "网格": ["第一网格", "第二网格", "澜溪一", "澜溪二", "柳汀甲", "柳汀乙", "石埠东", "石埠西", "云汀南", "云汀北"],
}


@pytest.mark.parametrize("title", NOBODY)
def test_names_of_places_and_shops_are_no_persons(title: str) -> None:
    for head in (title, "name", "f1"):
        assert looks_personal(head, NOBODY[title]) is None


def test_of_each_refused_category_a_cell_says_which() -> None:
    told = {
        "三楼租户有吸毒史": "涉毒", "社区矫正对象": "社区矫正", "刑满释放三年": "社区矫正", "精神分裂症": "精神障碍", "越级上访": "信访", "密接": "传染病", "核酸阳性": "传染病",
        "已确诊,居家": "传染病", "信佛": "宗教信仰", "基督徒": "宗教信仰", "重点人员": "重点人员",
    }  # fmt: skip
    assert {text: refused(text) for text in told} == told


@given(st.from_regex(re.compile("|".join(re.sub(r"\(\?!(?:[^()]|\([^()]*\))*\)", "", pattern) for pattern in CATEGORIES.values()))))
def test_whatever_tells_of_a_state_has_a_hint_in_it(text: str) -> None:
    assert refused(text) is None or re.search(HINT, text)


@pytest.mark.parametrize(
    "text",
    [
        "禁毒宣传", "吸毒危害宣传栏", "社区矫正中心", "戒毒所", "精神病院", "精神障碍康复机构", "信访办公室", "信访接待大厅", "密接隔离点", "宗教活动场所", "信息公开", "道教协会",
        "阳性植物", "重点工程", "门口有台阶", "天主教堂", "确诊", "发热门诊",
    ],
)  # fmt: skip
def test_offices_buildings_and_words_alone_are_nobody_s_state(text: str) -> None:
    assert refused(text) is None


@given(st.text(), st.lists(st.text() | st.none() | st.integers() | st.floats()))
def test_no_column_breaks_the_recognising(title: str, values: list[object]) -> None:
    looks_personal(title, values)
