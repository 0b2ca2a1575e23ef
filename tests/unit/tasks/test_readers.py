from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.errors import InputError
from sparsify.tasks.readers import read_table
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
        ("short.csv", 'tokens,ner_tags\n"a b"\n', r"short\.csv:2: the row does not have the header's 2 cells"),
        ("quote.csv", 'tokens,ner_tags\n"a b" c,O\n', "not a readable CSV"),
        ("one.conll", "Ada B-per\nslept\n", r"one\.conll:2: expected a word and its tag"),
        ("data.parquet", "", "cannot tell the format"),
    ],
)
def test_broken_files_name_their_place(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=told):
        read_table(tmp_path / name)


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
