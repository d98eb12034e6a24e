"""Files of numbers as people and spreadsheets leave them: understood, or reported; never guessed."""

import io

import pytest

from numberline.service.stock_csv import Damaged, StockFile, read_number, read_stock_csv

NUMBER = 15552850126

UNDERSTOOD = [
    "15552850126",
    "+15552850126",
    " 15552850126 ",
    "+1 555 285 0126",
    "+1\u00a0555\u00a0285\u00a00126",
    "1\u202f555\u202f285\u202f0126",
    "1\u2009555\u2007285 0126",
    "\u200e+15552850126\u200f",
    "\u202a+15552850126\u202c",
    "\ufeff15552850126",
    "1\t555 2850126",
    "+1-555-285-0126",
    "1\u2011555\u2013285\u20140126",
    "1\u2212555\u2212285\u22120126",
    "+1 (555) 285-0126",
    "1.555.285.0126",
    "+1.5552850126",
    "+1/555/2850126",
    "[1] 5552850126",
    "'15552850126",
    "\u201915552850126",
    '"15552850126"',
    "\u201c15552850126\u201d",
    "\u00ab15552850126\u00bb",
    '="15552850126"',
    '="+15552850126"',
    "`15552850126",
    "15552850126.",
    "15552850126.0",
    "15552850126.00",
    "+15552850126.0",
    "15552850126,0",
    "15552850126,00",
    "15,552,850,126",
    "15,552,850,126.00",
    "15.552.850.126",
    "15'552'850'126",
    "1.5552850126E+10",
    "1,5552850126E+10",
    "1.5552850126e10",
    "1.55528501260E+10",
    "+1.5552850126E+10",
]

REPORTED = {
    "": "missing",
    "   ": "missing",
    "'": "missing",
    "1.5553E+10": "lost digits",
    "1,5553E+10": "lost digits",
    "1.55528E10": "lost digits",
    "2E+10": "lost digits",
    "1.555285012E+10": "lost digits",
    "1.55528501265E+10": "lost digits",
    "1.5E-05": "lost digits",
    "15.5E+9": "lost digits",
    "-1.5552850126E+10": "lost digits",
    "-965": "calculation",
    "\u2212965": "calculation",
    "-15552850126": "calculation",
    "#N/A": "error",
    "#VALUE!": "error",
    "########": "error",
    "15552850126-15552850199": "two numbers",
    "15552850000 - 999": "two numbers",
    "15552850126/15552850127": "two numbers",
    "+44 (0)20 7946 0000": "in brackets",
    "15552850.126": "decimal",
    "1555285.0000": "decimal",
    "15552850126.5": "decimal",
    "02079460000": "begin with 0",
    "0049 30 23125000": "begin with 0",
    "011 1 555 285 0126": "begin with 0",
    "123": "3 digits",
    "1555285012612345": "16 digits",
    "155528,50126": "not a phone number",
    "15552850126,5": "not a phone number",
    "1-800-FLOWERS": "not a phone number",
    "15552850126 ext. 5": "not a phone number",
    "15552850126x5": "not a phone number",
    "1555285O126": "not a phone number",
    "155528501_26": "not a phone number",
    "１５５５２８５０１２６": "not a phone number",
    "٤٤٢٠٧٩٤٦٠٠٠٠": "not a phone number",
    "++15552850126": "not a phone number",
    "1555+2850126": "not a phone number",
    "1555285\ufffd0126": "not a phone number",
    "=A2": "not a phone number",
    "TRUE": "not a phone number",
    "n/a": "not a phone number",
}


@pytest.mark.parametrize("text", UNDERSTOOD)
def test_a_spelling_is_understood(text: str) -> None:
    assert read_number(text) == NUMBER


@pytest.mark.parametrize("text", REPORTED)
def test_damage_is_reported(text: str) -> None:
    with pytest.raises(Damaged, match=REPORTED[text]):
        read_number(text)


HEADER = "country_code,category,region_id,tier,first_number,last_number\n"


def read(text: str) -> StockFile:
    return read_stock_csv(io.StringIO(text, newline=""))


def ranges(file: StockFile) -> list[tuple[int, int]]:
    return [(line.first, line.last) for line in file.lines]


def test_a_whole_line() -> None:
    file = read(HEADER + "us,local,101,gold,15552850000,15552850999\n")
    (line,) = file.lines
    assert (line.country, line.category, line.region_id, line.tier) == ("US", "GEOGRAPHIC", 101, "gold")
    assert (line.first, line.last, line.line, line.count) == (15552850000, 15552850999, 2, 1000)
    assert not file.problems


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_any_system_ends_them(end: str) -> None:
    content = (HEADER + "US,GEOGRAPHIC,101,,15552850126,\n").replace("\n", end).encode()
    assert ranges(read_stock_csv(io.BytesIO(content))) == [(NUMBER, NUMBER)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_delimiters_and_encodings(delimiter: str, encoding: str) -> None:
    text = (HEADER + "US,GEOGRAPHIC,101,,15552850126,\n").replace(",", delimiter)
    assert ranges(read_stock_csv(io.BytesIO(text.encode(encoding)))) == [(NUMBER, NUMBER)]


def test_a_mark_of_bytes_in_a_stream_of_text() -> None:
    assert ranges(read("\ufeff" + HEADER + "US,GEOGRAPHIC,101,,15552850126,\n")) == [(NUMBER, NUMBER)]


def test_columns_by_name_in_any_order_and_number_for_a_single() -> None:
    file = read("Remark;Number;Region ID;Category;Country Code\nhello;+1 555 285 0126;101;GEOGRAPHIC;US\n")
    assert ranges(file) == [(NUMBER, NUMBER)]
    assert file.lines[0].tier == ""


def test_remarks_and_blank_lines_are_passed_over_and_lines_are_counted() -> None:
    file = read(f'# made "by hand\n\n{HEADER}\n# more, "of it\n,,,,,\nUS,GEOGRAPHIC,101,,15552850126,\n')
    assert [line.line for line in file.lines] == [7]
    assert not file.problems


def test_a_hint_for_spreadsheets_before_the_header() -> None:
    text = "sep=;\n" + HEADER.replace(",", ";") + "US;GEOGRAPHIC;101;;15552850126;\n"
    assert ranges(read(text)) == [(NUMBER, NUMBER)]


def test_an_error_in_the_first_column_is_no_remark() -> None:
    file = read("number,country_code,category,region_id\n#N/A,US,GEOGRAPHIC,101\n####,US,GEOGRAPHIC,101\n")
    assert [problem.line for problem in file.problems] == [2, 3]


def test_every_problem_is_reported_with_its_line_and_the_rest_is_read() -> None:
    file = read(
        HEADER
        + "US,GEOGRAPHIC,101,,1.5553E+10,\n"
        + "US,GEOGRAPHIC,101,,15552850126,1.5553E+10\n"
        + "US,GEOGRAPHIC,,,15552850126,\n"
        + "US,GEOGRAPHIC,abc,,15552850126,\n"
        + ",GEOGRAPHIC,101,,15552850126,\n"
        + "US,,101,,15552850126,\n"
        + f"US,GEOGRAPHIC,101,{'x' * 65},15552850126,\n"
        + "US,GEOGRAPHIC,101,,15,552,850,126\n"
        + 'US,GEOGRAPHIC,101,"never closed,15552850126,\n'
        + "US,GEOGRAPHIC\n"
        + "US,GEOGRAPHIC,101,,15552850126,\n"
    )
    assert [problem.line for problem in file.problems] == [*range(2, 12)]
    assert [line.line for line in file.lines] == [12]
    sentences = [problem.sentence for problem in file.problems]
    assert sentences[0].startswith("first_number: the spreadsheet has rounded")
    assert sentences[1].startswith("last_number: the spreadsheet has rounded")
    assert file.problems[0].text == "US,GEOGRAPHIC,101,,1.5553E+10,"


@pytest.mark.parametrize("region", ["101", "101.0", "101,00", " 101 "])
def test_region_ids_from_spreadsheets(region: str) -> None:
    file = read(HEADER.replace(",", ";") + f"US;GEOGRAPHIC;{region};;15552850126;\n")
    assert file.lines[0].region_id == 101


@pytest.mark.parametrize("region", ["10.5", "-1", "1e3", "１０１", "9" * 16, "*"])
def test_what_is_no_region_id(region: str) -> None:
    assert len(read(HEADER + f"US,GEOGRAPHIC,{region},,15552850126,\n").problems) == 1


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 1),
        ("# nothing but a remark\n", 1),
        ("country_code,category\nUS,GEOGRAPHIC\n", 2),
        ("number,first_number,country_code,category,region_id\n", 1),
        ('"number,country_code\n', 1),
    ],
)
def test_a_header_that_will_not_do(text: str, count: int) -> None:
    file = read(text)
    assert (len(file.lines), len(file.problems)) == (0, count)


def test_bytes_of_another_encoding_spoil_only_what_they_touch() -> None:
    content = (HEADER.strip() + ",remark\n").encode()
    content += "US,GEOGRAPHIC,101,,15552850126,,Köln\n".encode("cp1252")
    assert ranges(read_stock_csv(io.BytesIO(content))) == [(NUMBER, NUMBER)]


def test_progress_counts_lines() -> None:
    seen: list[tuple[int, int]] = []
    text = HEADER + "US,GEOGRAPHIC,101,,15552850126,\n" * 10_001
    read_stock_csv(io.StringIO(text), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(10_001, 0), (10_002, 0)]
