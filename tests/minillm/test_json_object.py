import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.errors import CheckpointError, TokenizerError, UserError
from minillm.json_object import parse_object, read_object

BAD = {
    "half": (b"{", "x.json is not JSON in UTF-8"),
    "a list": (b"[1]", r"x.json must hold a JSON object, got \[1\]"),
    "twice": (b'{"a": 1, "a": 2}', "x.json gives 'a' twice"),
    "twice inside": (b'{"b": {"a": 1, "c": {}, "a": 2}}', "x.json gives 'a' twice"),
    "not UTF-8": (b"\xff", "x.json is not JSON in UTF-8"),
    "deep": (b"[" * 200_000, "x.json is not JSON in UTF-8"),
    "endless number": (b'{"a": ' + b"1" * 10_000 + b"}", "x.json is not JSON in UTF-8"),
    "missing": (None, "cannot read .*x.json: No such file or directory"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("error", [CheckpointError, TokenizerError])
def test_what_is_no_object_is_one_line_with_the_file_and_of_the_callers_class(tmp_path, name, error):
    content, message = BAD[name]
    if content is not None:
        (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        read_object(tmp_path / "x.json", error)
    assert "\n" not in str(caught.value)


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(CheckpointError, match=f"cannot read {tmp_path}: Is a directory"):
        read_object(tmp_path, CheckpointError)


leaves = st.none() | st.booleans() | st.integers() | st.text()
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(st.dictionaries(st.text(), values, max_size=4))
def test_an_object_comes_back(value):
    assert parse_object(json.dumps(value).encode(), "here", CheckpointError) == value


@given(st.binary(max_size=60))
def test_no_bytes_whatever_raise_anything_else(data):
    try:
        found = parse_object(data, "here", CheckpointError)
    except UserError as error:
        found = {}
        complaint = str(error)
    else:
        complaint = "here "
    assert isinstance(found, dict)
    assert complaint.startswith("here ")
