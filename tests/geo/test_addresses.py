"""Addresses as people write them lead to the house and the dwelling, or to nobody's house."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from geo import addresses, db, intake
from geo.addresses import Hint, Matcher, parsed

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
LOADS = (
    ("areas.gpkg", "areas", "street", {"level": "street", "kind": "division"}),
    ("areas.gpkg", "areas", "communities", {"level": "community"}),
    ("grids.zip", "areas", None, {"level": "grid"}),
    ("compounds.gpkg", "compounds", None, {}),
    ("buildings.zip", "buildings", None, {}),
    ("units.csv", "units", None, {}),
    ("dwellings_lanxi.csv", "dwellings", None, {}),
)


@pytest.fixture(scope="module")
def lanxi(address, databases, migrated, key) -> Iterator[sa.Engine]:
    """The sample town's houses, stairwells and dwellings, loaded as any file is."""
    url = address.url(database=databases(migrated))
    made = db.engine(url)
    with made.begin() as connection:
        connection.execute(sa.text("UPDATE instance SET prefix = '990101001', demo = true"))
    loader = db.engine(address.url("jingwei_loader", database=url.database))
    for file, into, layer, values in LOADS:
        intake.load(loader, intake.Order(SAMPLE / file, into, values=values, layer=layer), key)
    loader.dispose()
    yield made
    made.dispose()


@pytest.fixture
def town_matcher(lanxi) -> Iterator[Matcher]:
    with lanxi.connect() as connection:
        yield Matcher.ready(connection)


DWELLINGS = """
    SELECT d.id, d.name AS room, u.name AS unit, b.name AS house, b.id AS building, b.floors, c.id AS compound, c.name AS compound_name,
        b.address
    FROM dwellings AS d JOIN units AS u ON u.id = d.unit JOIN buildings AS b ON b.id = d.building JOIN compounds AS c ON c.id = b.compound
    ORDER BY d.code
"""
HAN = "零一二三四五六七八九"


def han(number: str) -> str:
    n = int(number)
    tens, ones = divmod(n, 10)
    return ("" if tens == 0 else "十" if tens == 1 else f"{HAN[tens]}十") + (HAN[ones] if ones or not tens else "")


# c compound, n house, u stairwell, r room. Those that begin with a number are read beside a column or a choice of the compound.
SPELLINGS = (
    "{c}{n}幢{u}单元{r}室", "{c}{n}-{u}-{r}", "{c} {n} 幢 {u} 单元 {r}", "云汀街道澜溪社区{c}{n}栋{u}单元{r}室", "澜溪社区{c}{n}号楼{u}门{r}号",
    "{n}-{u}-{r}", "{n}—{u}—{r}", "{n}#{u}-{r}", "{n}幢{u}-{r}", "{n}/{u}/{r}", "{n} {u} {r}", "{n}一{u}一{r}", "第{n}幢第{u}单元{r}",
    "{c}{N}幢{U}单元{r}", "{c}({a}){n}幢{u}单元{r}室", "{a}{c}{n}座{u}梯{r}", "{n}栋{u}单元{f}楼{r}室", "{n}-{u}-{r}张三家", "{c}{n}-{u}-0{r}",
    "住址:{c}{n}幢{u}单元{r} 电话:13800001111", "{n}号{u}单元{r}", "{c}小区{n}幢{u}单元{r}",
)
FULL = str.maketrans("0123456789-#", "0123456789-#")


def test_draft(lanxi):
    import random, time, collections
    rng = random.Random(5)
    with lanxi.connect() as connection:
        rows = connection.execute(sa.text(DWELLINGS)).all()
        t = time.perf_counter()
        matcher = Matcher.ready(connection)
        print("ready", time.perf_counter() - t)
        texts, hints, truth = [], [], []
        for i in range(5000):
            row = rng.choice(rows)
            s = SPELLINGS[i % len(SPELLINGS)]
            n = parsed(row.house).number; u = parsed(row.unit).unit
            text = s.format(c=row.compound_name, n=n, u=u, r=row.room, N=han(n), U=han(u), a=row.address, f=row.room[:-2])
            if rng.random() < .2: text = text.translate(FULL)
            texts.append(text)
            hints.append(Hint() if "{c}" in s else Hint(compound=row.compound) if i % 2 else Hint(where=row.compound_name))
            truth.append(row)
        t = time.perf_counter()
        found = matcher.matched(texts, hints)
        took = time.perf_counter() - t
        print("took", took, 60 / took * 5000, "a minute")
        c = collections.Counter(); shown = collections.Counter()
        for text, f, row, i in zip(texts, found, truth, range(5000)):
            s = SPELLINGS[i % len(SPELLINGS)]
            ok = f.dwelling == row.id
            c[ok] += 1
            if not ok and shown[s] < 2:
                shown[s] += 1
                print(text, row, f.said(), f.address.text, [x.title for x in f.candidates][:4])
        print(c)
        for t in ["澜溪院3幢2单元201", "澜溪3-2-201", "东澜溪苑3幢", "澜溪苑99幢101", "澜溪苑3幢9单元101", "澜溪苑3幢1单元901", "澜溪苑3幢1单元309", "澜溪苑3栋301", "3-2-201", "石埠老街18号", "石埠老街18-2号", "盐仓弄5号", "石埠街30号", "云汀工业园3号厂房", "望汀第三中学教学楼", "砚桥中心A座1204", "澜北路2号", "澜北路2号3幢101", "澜北路2号101", "望海路枫林花园附近", "柳西社区澜溪苑3幢", "柳汀社区澜溪苑3幢", "澜北花园3幢", "澜北3幢", "枫林家园3幢", "溪月花苑车棚", "新纺东村值班室", "澜溪苑三期3-501", "澜溪苑", "云汀街道澜溪社区", "", "???", "云汀大道石埠新村附近", "汀南路7号", "澜溪街22号", "石埠码头","盐仓弄52号", "澜溪苑3号", "12号商铺", "澜溪苑3幢底商", "澜溪苑12号商铺"]:
            f = matcher.one(t)
            print(t, "=>", f.precision, f.missing, f.title, "|", f.said(), [(x.title, x.because.said()) for x in f.candidates][:4])
