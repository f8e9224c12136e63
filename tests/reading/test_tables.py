"""Tables as offices fill them in: headings, merged cells, sums, what a spreadsheet made of numbers; pasted text and lists."""

import csv
from datetime import datetime

import pytest
import xlsxwriter

from geo.errors import Invalid


def test_two_rows_of_heading_and_merged_cells_filled_down(workbook, rows, evidence):
    path = workbook(
        {"房屋": [
            ["澄汀社区房屋登记表"], ["小区", "房屋", None, None, "户主", None], [None, "幢", "单元", "室", "姓名", "电话"],
            ["澜溪苑", "3", "1", "101", "张三", "甲"], [None, "3", "1", "102", "李四", "乙"], ["望汀里", "1", "2", "201", "王五", "丙"],
            ["小计", None, None, None, None, 3], ["合计:", None, None, None, None, 3],
        ]},
        merged=[("A1:F1", "澄汀社区房屋登记表"), ("A2:A3", "小区"), ("B2:D2", "房屋"), ("E2:F2", "户主"), ("A4:A5", "澜溪苑")],
    )
    described, told = rows(path)
    assert list(described.columns) == ["小区", "幢", "单元", "室", "姓名", "电话"]
    assert [row["小区"] for row in told] == ["澜溪苑", "澜溪苑", "望汀里"]
    assert evidence(described, "header")[0].value == "2-3"
    assert evidence(described, "totals")[0].facts == {"count": 2}


def test_titles_that_repeat_under_different_ones_are_joined(workbook, rows):
    path = workbook({"表": [["网格", "网格员", None, "网格长", None], [None, "姓名", "电话", "姓名", "电话"], ["甲", "张", "1", "李", "2"]]},
                    merged=[("A1:A2", "网格"), ("B1:C1", "网格员"), ("D1:E1", "网格长")])
    assert list(rows(path)[0].columns) == ["网格", "网格员姓名", "网格员电话", "网格长姓名", "网格长电话"]


def test_two_rows_of_heading_in_text_without_merged_cells(tmp_path, rows):
    path = tmp_path / "a.csv"
    path.write_text("编号,位置,,备注\n,经度,纬度,\n1,120.5,30.2,甲\n2,120.6,30.3,乙\n", "utf-8")
    described, told = rows(path)
    assert described.position_columns == ["经度", "纬度"] and list(described.columns) == ["编号", "备注"]
    assert [row["编号"] for row in told] == ["1", "2"]


def test_one_row_of_heading_over_sparse_rows_stays_one(workbook, rows):
    path = workbook({"表": [["编号", "名称", "备注"], ["a", None, "甲"], ["b", "乙", None]]})
    assert [row["编号"] for row in rows(path)[1]] == ["a", "b"]


def test_the_heading_is_where_somebody_says(workbook, rows):
    path = workbook({"表": [["甲", "乙"], ["名称", "数"], ["a", "b"]]})
    assert list(rows(path, header="2")[0].columns) == ["名称", "数"]
    assert list(rows(path, header="0")[0].columns) == ["列1", "列2"]
    with pytest.raises(Invalid) as refusal:
        rows(path, header="x")
    assert refusal.value.facts["option"] == "--header"


def test_sheets_with_one_heading_are_one_table(workbook, rows, evidence):
    sheet = [["网格表"], ["门牌", "人数"], ["3-2-501", 2], ["合计", 2]]
    path = workbook({"第一网格": sheet, "第二网格": [*sheet[:3], ["3-2-502", 1]], "填写说明": [["请如实填写"]]})
    described, told = rows(path)
    assert [(row["工作表"], row["门牌"]) for row in told] == [("第一网格", "3-2-501"), ("第二网格", "3-2-501"), ("第二网格", "3-2-502")]
    assert evidence(described, "layer")[0].choices == ("第一网格", "第二网格")
    assert [layer.name for layer in described.layers] == ["第一网格", "第二网格", "填写说明"]
    assert [row["人数"] for row in rows(path, layer="第一网格")[1]] == ["2"]


def test_sheets_with_several_headings_are_asked_about(workbook, rows):
    path = workbook({"房屋": [["门牌"], ["1"]], "设施": [["名称", "经度"], ["井", 1]], "选项": [["是"], ["否"]]}, hidden=["选项"])
    with pytest.raises(Invalid) as refusal:
        rows(path)
    assert refusal.value.facts["choices"] == ["房屋", "设施"]
    assert rows(path, layer="设施")[1][0]["名称"] == "井"


def test_numbers_of_houses_that_became_days_are_given_back(workbook, rows, evidence):
    year = datetime.now().year
    path = workbook({"表": [
        ["门牌", "登记日期"], ["3-2-501", datetime(2025, 3, 2)], [datetime(year, 3, 2), datetime(2025, 3, 3)],
        [datetime(1932, 3, 1), None], [datetime(year, 12, 1), None], [datetime(2029, 2, 1), None],
    ]})
    described, told = rows(path)
    assert [row["门牌"] for row in told] == ["3-2-501", "3-2", "3-32", "12-1", "2-29"]
    assert told[0]["登记日期"].startswith("2025-03-02")
    [found] = evidence(described, "dates")
    assert found.facts["count"] == 4 and found.facts["restored"] == "3-2" and found.option == "dates"
    assert rows(path, dates="keep")[1][1]["门牌"].startswith(f"{year}-03-02")


def test_numbers_of_houses_in_text_that_a_spreadsheet_saved(tmp_path, rows):
    path = tmp_path / "a.csv"
    path.write_bytes("楼号,建成\n3月2日,3月2日\n2-Mar,\nMar-32,\n5-1,\n".encode("gb18030"))
    assert [row["楼号"] for row in rows(path)[1]] == ["3-2", "3-2", "3-32", "5-1"]
    assert rows(path)[1][0]["建成"] == "3月2日"


@pytest.mark.parametrize("kind", ["xlsx", "csv"])
def test_numbers_that_lost_digits_are_refused_by_name(kind, workbook, tmp_path, rows, evidence):
    if kind == "xlsx":
        path = workbook({"表": [["名称", "证照编号"], ["甲", 330106199001011234], ["乙", "33010619900101123X"]]})
    else:
        path = tmp_path / "a.csv"
        path.write_text("名称,证照编号\n甲,3.30106E+17\n", "utf-8")
    with pytest.raises(Invalid) as refusal:
        rows(path)
    assert "证照编号" in str(refusal.value) and "文本" in str(refusal.value) and refusal.value.facts["option"] == "--numbers"
    described, told = rows(path, numbers="drop")
    assert list(told[0]) == ["名称"] and evidence(described, "numbers")


def test_equal_titles_are_told_apart(tmp_path, rows, evidence):
    path = tmp_path / "a.csv"
    path.write_text("名称,备注,备注\n甲,1,2\n", "utf-8")
    described, told = rows(path)
    assert told == [{"名称": "甲", "备注": "1", "备注_2": "2"}] and evidence(described, "names")


def test_a_list_of_a_chat(tmp_path, rows, evidence):
    path = tmp_path / "接龙.txt"
    path.write_text(
        "#接龙\n澜溪苑周六清洁活动\n例:姓名 房号 人数\n\n1. 张三 3-2-501 2人\n2. 李四 3幢2单元502室 3人 要两把扫帚\n3、王五，13800000000，5-1-101\n", "utf-8"
    )
    described, told = rows(path)
    assert told[0] == {"地址": "3-2-501", "姓名": "张三", "电话": None, "人数": "2", "备注": None}
    assert told[1] == {"地址": "3幢2单元502室", "姓名": "李四", "电话": None, "人数": "3", "备注": "要两把扫帚"}
    assert told[2]["电话"] == "13800000000" and told[2]["地址"] == "5-1-101"
    assert evidence(described, "header")[0].facts == {"count": 3, "others": 3, "above": ["#接龙", "澜溪苑周六清洁活动", "例:姓名 房号 人数"]}


def test_a_pasted_table_and_a_pasted_column(tmp_path, rows):
    path = tmp_path / "pasted.txt"
    path.write_text("姓名\t门牌\t人数\n张三\t3-2-501\t2\n李四\t3-2-502\t1\n", "utf-8")
    assert rows(path)[1][1] == {"姓名": "李四", "门牌": "3-2-502", "人数": "1"}
    path.write_text("3-2-501\n3-2-502\n", "utf-8")
    assert rows(path)[1] == [{"列1": "3-2-501"}, {"列1": "3-2-502"}]
    path.write_text("张三\t3-2-501\t2\n李四\t3-2-502\t1\n", "utf-8")
    assert rows(path)[1][0] == {"列1": "张三", "列2": "3-2-501", "列3": "2"}
    path.write_text('[{"名称": "井", "lng": 120.5, "lat": 30.2, "x": {"a": 1}}, {"名称": "灯"}]', "utf-8")
    described, told = rows(path)
    assert [row["名称"] for row in told] == ["井", "灯"] and described.position_columns == ["lng", "lat"]


def test_tables_under_the_wrong_name(tmp_path, workbook, rows):
    text = tmp_path / "导出.xls"
    text.write_bytes("名称\t数\n甲\t1\n".encode("gb18030"))
    assert rows(text)[1] == [{"名称": "甲", "数": "1"}]
    book = workbook({"表": [["名称"], ["甲"]]})
    for name in ("a.csv", "a.et", "a.xls"):
        copy = tmp_path / name
        copy.write_bytes(book.read_bytes())
        assert rows(copy)[1] == [{"名称": "甲"}]
    page = tmp_path / "页.xls"
    page.write_text("<html><table><tr><td>名称</td></tr></table></html>", "utf-8")
    with pytest.raises(Invalid, match="网页"):
        rows(page)


def test_prose_is_no_table(tmp_path, rows):
    path = tmp_path / "信.txt"
    path.write_text("关于开展摸排工作的通知\n\n各社区,各网格:\n根据安排,现将有关事项通知如下,请认真执行,不得有误。\n特此通知,甲,乙,丙\n", "utf-8")
    with pytest.raises(Invalid, match="找不到表格"):
        rows(path)
    path.write_text("名称,数\n", "utf-8")
    with pytest.raises(Invalid, match="只有表头"):
        rows(path)


HOSTILE = ["<img src=x onerror=alert(1)>", "=cmd|' /C calc'!A0", "+1+1", "@SUM(A1)", "'; DROP TABLE areas; --", "{0.__class__}", "%s%n"]


def test_hostile_text_comes_out_as_it_went_in(tmp_path, rows):
    path = tmp_path / "<img src=x onerror=alert(1)>.csv"
    with path.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([[f"列{at}{text}" for at, text in enumerate(HOSTILE)], HOSTILE])
    described, told = rows(path)
    assert list(described.columns) == [f"列{at}{text}" for at, text in enumerate(HOSTILE)]
    assert list(told[0].values()) == HOSTILE


def test_formulas_in_a_workbook_are_their_results(tmp_path, rows):
    path = tmp_path / "a.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet("<img onerror=1>")
        sheet.write_row(0, 0, ["名称", "数", "址"])
        sheet.write_string(1, 0, "=HYPERLINK(\"http://x\")")
        sheet.write_formula(1, 1, "=1+1", None, 2)
        sheet.write_formula(1, 2, "=WEBSERVICE(\"http://127.0.0.1/\")", None, "旧值")
    described, told = rows(path)
    assert told == [{"名称": "=HYPERLINK(\"http://x\")", "数": "2", "址": "旧值"}]
    assert described.layers[0].name == "<img onerror=1>"
