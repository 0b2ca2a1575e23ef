from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.errors import InputError
from sparsify.tasks.readers import Table, read_table
from sparsify.tasks.token_classification.columns import sentences

ROWS = [{"tokens": ["Ada", "slept", "."], "ner_tags": ["B-per", "O", "O"]}, {"tokens": ["Oslo"], "ner_tags": ["B-loc"]}]
CONLL = "-DOCSTART- -X- O O\n\nAda NNP B-NP B-per\nslept VBD B-VP O\n. . O O\n\nOslo NNP B-NP B-loc\n"
CSV = 'id,tokens,ner_tags\n0,"[\'Ada\', \'slept\', \'.\']","[\'B-per\', \'O\', \'O\']"\n1,"[""Oslo""]","[""B-loc""]"\n'
FORMS = {
    "a.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "a.json": json.dumps(ROWS),
    "lines.json": "".join(json.dumps(row) + "\n" for row in ROWS),
    "data.json": json.dumps({"data": ROWS}),
    "columns.json": json.dumps({key: [row[key] for row in ROWS] for key in ROWS[0]}),
    "a.csv": CSV,
    "semicolon.csv": CSV.replace(",t", ";t")
    .replace(",n", ";n")
    .replace("0,", "0;")
    .replace("1,", "1;")
    .replace('",', '";'),
    "a.conll": CONLL,
    "tabs.txt": "# id = 1\n" + CONLL.replace(" ", "\t"),
    "windows.bio": CONLL.replace("\n", "\r\n"),
    "spaces.tsv": "tokens\tner_tags\nAda slept .\tB-per O O\nOslo\tB-loc\n",
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_gives_the_same_sentences(tmp_path: Path, name: str, packed: bool) -> None:
    data = FORMS[name].encode()
    path = tmp_path / (name + ".gz" if packed else name)
    path.write_bytes(gzip.compress(data) if packed else data)
    found = sentences(read_table(path), text=None, label=None)
    assert found.words == [row["tokens"] for row in ROWS]
    assert found.tags == [row["ner_tags"] for row in ROWS]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("bad.jsonl", '{"tokens": ["a"]}\n{"tokens": [\n', r"bad\.jsonl:2:\d+: not JSON"),
        ("list.jsonl", '["a"]\n', r"expected an object"),
        ("number.json", "3", r"expected objects or a list"),
        ("lengths.json", '{"tokens": [["a"]], "ner_tags": [["O"], ["O"]]}', "different lengths"),
        ("short.csv", 'tokens,ner_tags\n"a b"\n', r"short\.csv:2: the row has 1 cells, and the header 2"),
        ("quote.csv", 'tokens,ner_tags\n"a b" c,O\n', r"quote\.csv:2: not a readable CSV"),
        ("short.tsv", 'a\tb\n"x" y\n', r"short\.tsv:2: not a readable CSV"),
        ("deep.json", "[" * 200_000, r"deep\.json: lists or objects are nested too deeply"),
        ("twice.csv", "text,label,text\na,0,b\n", r"twice\.csv:1: the header has two columns 'text'"),
        ("one.conll", "Ada B-per\nslept\n", r"one\.conll:2: expected a word and its tag"),
        ("blank_tag.conll", "Ada\tB-per\nslept\t\n", r"blank_tag\.conll:2: expected a word and its tag"),
        ("blank_word.conll", "Ada\tB-per\n\tO\n", r"blank_word\.conll:2: expected a word and its tag"),
        ("data.parquet", "", "cannot tell the format"),
    ],
)
def test_broken_files_name_their_place(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=told):
        read_table(tmp_path / name)


def test_a_folder_or_a_home_that_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path}: is a folder, not a file"):
        read_table(tmp_path)
    with pytest.raises(InputError, match=r"no file ~nobody-of-this-name/a\.jsonl"):
        read_table("~nobody-of-this-name/a.jsonl")


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("{}")
    with pytest.raises(InputError, match=r"did you mean train\.jsonl\?"):
        read_table(tmp_path / "trian.jsonl")
    with pytest.raises(InputError, match="nor a folder"):
        read_table(tmp_path / "nowhere" / "train.jsonl")


def test_text_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"Ada B-per\nM\xe9nard I-per\n")
    with pytest.raises(InputError, match=r"latin\.txt:2: not UTF-8"):
        read_table(tmp_path / "latin.txt")


def test_a_gzip_name_alone_makes_no_gzip_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a gzip file"):
        read_table(tmp_path / "a.jsonl.gz")


def test_a_damaged_gzip_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"{}" * 1000)[:-9])
    with pytest.raises(InputError, match="gzip file is damaged"):
        read_table(tmp_path / "a.jsonl.gz")


def test_a_gzip_file_with_a_wrong_byte_is_told(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(json.dumps(ROWS * 50).encode()))
    data[20:24] = bytes(255 - byte for byte in data[20:24])
    (tmp_path / "a.json.gz").write_bytes(data)
    with pytest.raises(InputError, match="gzip file is damaged"):
        read_table(tmp_path / "a.json.gz")


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbftokens,ner_tags\nAda,B-per\n")
    assert read_table(tmp_path / "a.csv").columns == ["tokens", "ner_tags"]


def test_conll_columns_take_the_names_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("Ada B-per\n")
    table = read_table(tmp_path / "a.conll", text_column="words", label_column="pos_tags")
    assert table.rows == [{"words": ["Ada"], "pos_tags": ["B-per"]}]


def test_conll_words_without_tags_have_no_label_column(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Ada\nslept\n\nOslo\n")
    assert read_table(tmp_path / "a.txt").rows == [{"tokens": ["Ada", "slept"]}, {"tokens": ["Oslo"]}]


@given(st.lists(st.lists(st.text(min_size=1), min_size=1), min_size=1, max_size=5))
def test_json_lines_keep_any_word(tmp_path_factory: pytest.TempPathFactory, words: list[list[str]]) -> None:
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    lines = (json.dumps({"tokens": row, "ner_tags": ["O"] * len(row)}, ensure_ascii=False) for row in words)
    try:
        path.write_text("\n".join(lines), encoding="utf-8")
    except UnicodeEncodeError:  # lone surrogates are not text
        return
    assert sentences(read_table(path), text=None, label=None).words == words


def test_blank_lines_of_a_csv_file_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf\r\ntext,label\r\n\r\nAda,1\r\n   \r\nOslo,0\r\n\r\n")
    table = read_table(tmp_path / "a.csv")
    assert table.rows == [{"text": "Ada", "label": "1"}, {"text": "Oslo", "label": "0"}]
    assert table.place(1).endswith("a.csv:6")


def test_columns_without_a_name_may_be_several(tmp_path: Path) -> None:
    (tmp_path / "excel.csv").write_text("text,label,,\nAda,1,,\n")
    assert read_table(tmp_path / "excel.csv").rows == [{"text": "Ada", "label": "1", "": ""}]


@pytest.mark.parametrize("separator", [" ", "\t", "  "])
def test_a_no_break_space_is_part_of_a_word(tmp_path: Path, separator: str) -> None:
    (tmp_path / "a.conll").write_text(f"10\xa0000{separator}O\nkm{separator}O\n", encoding="utf-8")
    assert read_table(tmp_path / "a.conll").rows == [{"tokens": ["10\xa0000", "km"], "ner_tags": ["O", "O"]}]


def test_blanks_behind_a_tag_are_no_column(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("Ada\tB-per\t\nslept\tO \n")
    assert read_table(tmp_path / "a.conll").rows == [{"tokens": ["Ada", "slept"], "ner_tags": ["B-per", "O"]}]
    (tmp_path / "b.conll").write_text("Ada\t\nslept\t\n")
    assert read_table(tmp_path / "b.conll").rows == [{"tokens": ["Ada", "slept"]}]


@given(st.integers(2, 60), st.floats(0.001, 0.999))
def test_what_is_held_out_is_the_end_and_neither_part_is_empty(count: int, share: float) -> None:
    table = Table("a.csv", ["n"], [{"n": i} for i in range(count)], list(range(2, count + 2)), {})
    train, held = table.hold_out(share, "--validation_ratio")
    assert min(len(train.rows), len(held.rows)) >= 1
    assert train.rows + held.rows == table.rows
    assert train.lines + held.lines == table.lines
    assert len(held.rows) in (1, count - 1) or abs(len(held.rows) - count * share) <= 0.5


def test_one_row_cannot_be_held_out() -> None:
    with pytest.raises(InputError, match=r"a\.csv: one row is too few for --validation_ratio"):
        Table("a.csv", ["n"], [{"n": 0}], [2], {}).hold_out(0.5, "--validation_ratio")
