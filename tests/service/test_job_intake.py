"""A job's body gives the same rows however it is split, and what is no row is told by its place."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import Signature, TensorSpec
from service.errors import BadRequest, BodyTooLarge, ServiceError, TooManyRows, UnsupportedMedia
from service.jobs.intake import CSV, JSON, NDJSON, Intake
from service.sections import Jobs

OUT = (TensorSpec("y", "FP64", [-1]),)
FEATURES = Signature((TensorSpec("x", "FP64", [-1, 3]),), OUT)
NAMED = Signature((TensorSpec("x", "FP64", [-1, 3], feature_names=["city", "age", "net_income"]),), OUT)
LACKING = Signature((TensorSpec("x", "FP64", [-1, 3], missing=True),), OUT)
MIXED = Signature(
    (
        TensorSpec("name", "BYTES", [-1]),
        TensorSpec("amount", "FP64", [-1]),
        TensorSpec("hot", "BOOL", [-1], optional=True),
        TensorSpec("50%", "INT64", [-1, 1], optional=True),
    ),
    OUT,
)
LINES = NDJSON[0]
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": lambda body: zlib.compress(body, wbits=-15),
    "gzip, deflate": lambda body: zlib.compress(gzip.compress(body)),
}

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
cuts = st.lists(st.integers(0, 4000), max_size=12)


def pieces(body: bytes, at: Iterable[int]) -> list[bytes]:
    ends = sorted({min(cut, len(body)) for cut in at} | {0, len(body)})
    return [body[begin:end] for begin, end in pairwise(ends)]


def raw(kind: str, parts: Iterable[bytes], signature: Signature = MIXED, coding: str | None = None, **bounds: Any) -> list[bytes]:
    intake = Intake(kind, coding, signature, Jobs(**bounds))
    rows = [row for part in parts for chunk in intake.feed(part) for row in chunk]
    return [*rows, *(row for chunk in intake.close() for row in chunk)]


def read(kind: str, parts: Iterable[bytes], signature: Signature = MIXED, coding: str | None = None, **bounds: Any) -> list[Any]:
    return [json.loads(row) for row in raw(kind, parts, signature, coding, **bounds)]


def refusal(kind: str, body: bytes, signature: Signature = MIXED, **bounds: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        raw(kind, [body], signature, **bounds)
    return caught.value


@given(st.lists(values, min_size=1, max_size=8), st.sampled_from(["\n", "\r\n", "\n\n \n"]), st.booleans(), cuts)
def test_lines_give_the_same_rows_however_they_are_split(rows: list[Any], end: str, last: bool, at: list[int]) -> None:
    body = (end.join(map(json.dumps, rows)) + end * last).encode()
    assert read(LINES, pieces(body, at)) == rows


@given(st.lists(values, min_size=1, max_size=8), st.sampled_from([None, 2]), st.booleans(), st.booleans(), cuts)
def test_a_list_gives_the_same_rows_however_it_is_split(
    rows: list[Any], indent: int | None, named: bool, plain: bool, at: list[int]
) -> None:
    body = json.dumps({"instances": rows} if named else rows, indent=indent, ensure_ascii=plain).encode("utf-8", "surrogatepass")
    if plain or all(is_utf8(row) for row in rows):
        assert read(JSON, pieces(body, at)) == rows


@given(st.lists(st.text(alphabet='ab"\\[]{},:\n', max_size=60), min_size=1, max_size=40), st.integers(1, 300))
def test_a_list_is_cut_between_its_rows_alone(rows: list[str], step: int) -> None:
    body = json.dumps([{"a": [row, row]} for row in rows]).encode()
    from service.jobs import document

    block, document.BLOCK = document.BLOCK, step  # type: ignore[misc]
    try:
        assert read(JSON, pieces(body, range(0, len(body), step))) == [{"a": [row, row]} for row in rows]
    finally:
        document.BLOCK = block  # type: ignore[misc]


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), min_size=1),
            st.floats(allow_nan=False, allow_infinity=False),
            st.sampled_from(["", "true", "False"]),
            st.none() | st.integers(-(2**62), 2**62),
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
    cuts,
)
def test_a_table_that_another_wrote_gives_its_values_however_it_is_split(
    rows: list[tuple[str, float, str, int | None]], quoting: Any, end: str, at: list[int]
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=quoting, lineterminator=end)
    writer.writerow(["name", "amount", "hot", "50%"])
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    wanted = []
    for name, amount, hot, percent in rows:
        row: dict[str, Any] = {"name": name, "amount": amount}
        if hot:
            row["hot"] = hot == "true"
        if percent is not None:
            row["50%"] = [percent]
        wanted.append(row)
    assert read(CSV, pieces(text.getvalue().encode(), at)) == wanted


@given(st.lists(values, min_size=1, max_size=8), st.sampled_from(sorted(ENCODERS)), cuts)
def test_a_compressed_body_gives_the_same_rows_however_it_is_split(rows: list[Any], coding: str, at: list[int]) -> None:
    body = "\n".join(map(json.dumps, rows)).encode()
    assert read(LINES, pieces(ENCODERS[coding](body), at), coding=coding) == rows


@given(st.sampled_from([LINES, CSV, JSON]), st.binary(max_size=200), cuts)
def test_whatever_comes_gives_rows_of_json_or_one_of_our_errors_however_it_is_split(kind: str, body: bytes, at: list[int]) -> None:
    def outcome(parts: list[bytes]) -> object:
        try:
            return read(kind, parts)
        except ServiceError as error:
            return type(error), str(error)

    assert outcome([body]) == outcome(pieces(body, at))


@pytest.mark.parametrize(
    ("table", "row"),
    [
        (b"a,b,c\n1,2.5,-3e2\n", [1, 2.5, -300.0]),
        (b"a,b,c\r\n.5,+1,007\r\n", [0.5, 1, 7]),
        (b"\xef\xbb\xbfa,b,c\n1,2,x", [1, 2, "x"]),
        (b'a,b,c\n"1","2",""\n', [1, 2, ""]),
        (b"a,b,c\n1_0,nan,1e999\n", ["1_0", "nan", float("inf")]),
    ],
)
def test_the_columns_of_a_model_of_features_are_its_features_in_order(table: bytes, row: list[Any]) -> None:
    assert read(CSV, [table], FEATURES) == [row]


def test_numbers_stay_text_where_the_model_takes_text() -> None:
    assert read(CSV, [b"amount,name\n1,007\n"]) == [{"amount": 1, "name": "007"}]


def test_a_quoted_field_holds_commas_quotes_and_line_ends() -> None:
    assert read(CSV, [b'name,amount\n"a ""b"", c\nd",1\ne,2\n']) == [
        {"name": 'a "b", c\nd', "amount": 1},
        {"name": "e", "amount": 2},
    ]


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        (LINES, b"1\n\n[2\n", "line 3 is not JSON"),
        (LINES, b'{"a": 1} {"a": 2}\n', "line 1 is not JSON"),
        (LINES, b'1\n"\xff"\n', "line 2 is not JSON"),
        (LINES, b"1\nNaN\n", "line 2 is not JSON"),
        (LINES, b"1\n" + b"[" * 100_000, "line 2 is not JSON"),
        (LINES, b"\n \n", "no rows"),
        (LINES, b"", "no rows"),
        (JSON, b"", "no list of rows"),
        (JSON, b'{"inputs": [1]}', "no list of rows"),
        (JSON, b"[]", "no rows"),
        (JSON, b"[1, 2", "ends within its list, after 1 whole"),
        (JSON, b"[1, 2,]", "instances[2]"),
        (JSON, b"[1,,2]", "instances[1]"),
        (JSON, b"[,1]", "instances[0]"),
        (JSON, b"[1}", "instances[0]"),
        (JSON, b'[1, "\xff"]', "instances[1]"),
        (JSON, b"[1] 2", "beside the list of rows, after 1"),
        (JSON, b'{"instances": [1], "more": 2}', "beside the list of rows, after 1"),
        (JSON, b'{"instances": [1]', "beside the list of rows, after 1"),
        (CSV, b"", "no header line"),
        (CSV, b"name,amount\n", "no rows"),
        (CSV, b"name,amount\na,1\nb\n", "line 3 has 1 fields, and the header has 2"),
        (CSV, b'name,amount\na,1\n5"b,1\n5"c,1\n', "line 3 is not CSV"),
        (CSV, b'name,amount\n"a\n\nb",1\n"c"d,2\n', "line 5 is not CSV"),
        (CSV, b'name,amount\n"a,1\n', "line 2 opens a quote"),
        (CSV, b"name,amount\n\xff,1\n", "line 2 is not UTF-8"),
        (CSV, b"name,amuont\na,1\n", "did you mean amount?"),
        (CSV, b"name,name\na,1\n", "twice"),
        (CSV, b"amount\n1\n", "lacks name"),
    ],
)
def test_what_is_no_row_is_told_by_its_place(kind: str, body: bytes, told: str) -> None:
    error = refusal(kind, body)
    assert isinstance(error, BadRequest)
    assert told in str(error)


def test_a_header_of_another_number_of_features_is_refused() -> None:
    assert "takes 3 values a row" in str(refusal(CSV, b"a,b\n1,2\n", FEATURES))


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (b"0.3,,0", [0.3, None, 0]),
        (b",,", [None, None, None]),
        (b'"", nan ,NaN', [None, None, None]),
        (b"1,x,-nan", [1, "x", "-nan"]),
    ],
)
def test_an_empty_field_is_a_missing_value_where_the_model_takes_nan_for_one(line: bytes, row: list[Any]) -> None:
    assert read(CSV, [b"a,b,c\n" + line + b"\n"], LACKING) == [row]


@pytest.mark.parametrize(
    "table",
    [
        b"city,age,net_income\n1,2,3\n",
        b"net_income,age,city\n3,2,1\n",
        b'age,"net_income", city \n2,"3",1\n',
        b"\xef\xbb\xbfnet income,city,age\n3,1,+2\n",  # LightGBM writes a name's spaces as underscores
        b"a,b,c\n1,2,3\n",
    ],
)
def test_columns_with_the_features_names_may_come_in_any_order_and_others_come_in_the_features_order(table: bytes) -> None:
    assert read(CSV, [table], NAMED) == [[1, 2, 3]]


@given(st.permutations(range(3)), st.lists(st.lists(st.floats(-9, 9), min_size=3, max_size=3), min_size=1, max_size=4))
def test_whatever_the_order_of_the_columns_each_value_comes_to_its_feature(order: list[int], rows: list[list[float]]) -> None:
    names = NAMED.inputs[0].feature_names
    lines = [",".join(names[at] for at in order), *(",".join(repr(row[at]) for at in order) for row in rows)]
    assert read(CSV, ["\n".join(lines).encode()], NAMED) == rows


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (b"id,age,city", "names id, age, city; no feature of the model: id;"),
        (b",age,city,net_income", "names '', age, city, net_income; no feature of the model: '';"),
        (b"age,city", "names age, city; missing: net_income;"),
        (b"id,city,age,net_income", "no feature of the model: id;"),
        (b"city,age,age", "named twice: age;"),
        (b"net income,net_income,city,age", "named twice: net_income;"),
    ],
)
def test_a_header_that_names_some_features_and_not_all_is_refused(header: bytes, told: str) -> None:
    error = str(refusal(CSV, header + b"\n1,2,3\n", NAMED))
    assert told in error
    assert "city, age, net_income" in error


def test_a_wrong_line_is_told_before_the_body_ends() -> None:
    intake = Intake(LINES, None, MIXED, Jobs())
    with pytest.raises(BadRequest, match="line 2"):
        list(intake.feed(b"1\nx\n"))


@pytest.mark.parametrize(("kind", "before"), [(LINES, b"1\n"), (CSV, b"name,amount\na,1\n"), (JSON, b"[1,")])
@pytest.mark.parametrize("text", [b'"' + b"a" * 200_000, b"1" * 200_000, b'"' + b"\n" * 200_000, b"[" * 60 + b"1," * 100_000])
def test_a_row_over_its_limit_is_refused_before_it_has_come(kind: str, before: bytes, text: bytes) -> None:
    intake = Intake(kind, None, MIXED, Jobs(row_bytes=100_000))
    list(intake.feed(before))
    parts = pieces(text, range(0, len(text), 1000))
    with pytest.raises(ServiceError) as caught:
        deque(chain.from_iterable(map(intake.feed, parts)), 0)
    assert isinstance(caught.value, BodyTooLarge | BadRequest)


def test_more_rows_or_bytes_than_a_job_may_have_are_refused() -> None:
    assert isinstance(refusal(LINES, b"1\n2\n3\n", max_rows=2), TooManyRows)
    assert isinstance(refusal(LINES, b"1\n2\n3\n", body_bytes=5), BodyTooLarge)
    assert read(LINES, [b"1\n2\n3\n"], max_rows=3, body_bytes=6) == [1, 2, 3]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, gzip"])
def test_a_bomb_is_refused_in_little_memory(coding: str) -> None:
    body = b"1\n" * (32 << 20)
    for name in coding.split(", "):
        body = gzip.compress(body) if name == "gzip" else zlib.compress(body)
    intake = Intake(LINES, coding, MIXED, Jobs(body_bytes=1 << 20))
    tracemalloc.start()
    with pytest.raises(BodyTooLarge):
        for _ in intake.feed(body):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_compressed_body_that_is_cut_short_or_damaged_is_refused(coding: str) -> None:
    body = ENCODERS[coding](b"1\n" * 1000)
    for wrong in (body[:-1], body[:1], b"no such thing"):
        with pytest.raises(BadRequest, match=r"cut short|not what its"):
            raw(LINES, [wrong], coding=coding)


def test_gzip_of_several_members_is_one_body_and_deflate_has_one_stream() -> None:
    assert read(LINES, [gzip.compress(b"1\n") + gzip.compress(b"2\n")], coding="gzip") == [1, 2]
    with pytest.raises(BadRequest, match="before the request's body does"):
        raw(LINES, [zlib.compress(b"1\n") + b"x"], coding="deflate")


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "text/csv; header=absent", "application/json; charset=latin1", "application/json; charset=utf-16; x=utf-8"],
)
def test_other_content_types_are_refused(kind: str) -> None:
    with pytest.raises(UnsupportedMedia):
        Intake(kind, None, MIXED, Jobs())


def test_codings_that_are_unknown_or_too_many_are_refused() -> None:
    for coding in ("br", "gzip, gzip, gzip"):
        with pytest.raises(UnsupportedMedia):
            Intake(LINES, coding, MIXED, Jobs())


def is_utf8(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
