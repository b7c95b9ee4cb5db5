"""What is shown of a stored file: text, JSON, tables, pictures; and what is not."""

from pathlib import Path

import duckdb
import pytest

from tournant.adapters.blobs.local import LocalBlobStore
from tournant.services.previews import Preview, image_type, preview_file

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobStore:
    """Give an empty content store."""
    return LocalBlobStore(tmp_path / "store")


def preview(blobs: LocalBlobStore, name: str, content: bytes) -> Preview:
    return preview_file(blobs, name, blobs.put(content), len(content))


def test_text_is_cut(blobs: LocalBlobStore) -> None:
    """The beginning is shown, whole characters only, and how much it is."""
    content = "é".encode() * 100_000
    found = preview(blobs, "notes.txt", content)
    assert found.kind == "text" and set(found.text) == {"é"}
    assert found.note.endswith("of 200,000 bytes.")
    assert preview(blobs, "MLmodel", b"flavors: {}\n") == Preview(kind="text", text="flavors: {}\n")
    assert preview(blobs, "empty.txt", b"").text == ""


def test_json_is_laid_out(blobs: LocalBlobStore) -> None:
    """JSON on several lines; what is none, and what is too large, as text."""
    assert preview(blobs, "a.json", b'{"a":[1,2]}').text == '{\n  "a": [\n    1,\n    2\n  ]\n}'
    broken = preview(blobs, "b.json", b'{"a": ')
    assert broken.kind == "text" and broken.text == '{"a": ' and "no JSON" in broken.note
    assert preview(blobs, "deep.json", b"[" * 100_000).kind == "text"
    assert preview(blobs, "large.json", b'"' + b"x" * 400_000 + b'"').kind == "text"


def test_a_table_that_mlflow_logged_is_one(blobs: LocalBlobStore) -> None:
    """Its log_table writes columns and data as JSON."""
    found = preview(blobs, "t.json", b'{"columns": ["a", "b"], "data": [[1, null], [2, "x"]]}')
    assert (found.kind, found.columns, found.rows) == ("table", ("a", "b"), (("1", ""), ("2", "x")))


def test_first_rows_of_csv(blobs: LocalBlobStore) -> None:
    """Its first 100 rows and 50 columns, long cells cut; commas, semicolons and tabs; quotes as they are meant."""
    found = preview(blobs, "a.csv", b'a,b\n1,"x, y"\n' + b"2,z\n" * 500)
    assert found.columns == ("a", "b") and found.rows[0] == ("1", "x, y") and len(found.rows) == 100
    assert "there are more" in found.note
    assert preview(blobs, "b.csv", b"a;b\n1;2,5\n").rows == (("1", "2,5"),)
    assert preview(blobs, "c.tsv", b"a\tb\n1\t2\n").rows == (("1", "2"),)
    wide = preview(blobs, "d.csv", b",".join([b"c"] * 90) + b"\n" + b",".join([b"v" * 500] * 90))
    assert len(wide.columns) == len(wide.rows[0]) == 50 and len(wide.rows[0][0]) == 200
    large = preview(blobs, "e.csv", b"a,b\n" + b"1234567,7654321\n" * 100_000)
    assert large.rows[-1] == ("1234567", "7654321") and "there are more" in large.note
    assert preview(blobs, "f.csv", b"\n").kind in ("table", "text")


def test_first_rows_of_parquet(blobs: LocalBlobStore, tmp_path: Path) -> None:
    """By its content, whatever its name; how many rows it has is known; one that is broken says so."""
    path = tmp_path / "made.parquet"
    duckdb.sql("SELECT i AS n, 'name ' || i AS name, NULL AS nothing FROM range(5000) t(i)").write_parquet(str(path))
    found = preview(blobs, "data", path.read_bytes())
    assert found.columns == ("n", "name", "nothing") and found.rows[1] == ("1", "name 1", "")
    assert found.note == "The first 100 of 5,000 rows."
    broken = preview(blobs, "x.parquet", b"PAR1 and no more")
    assert broken.kind == "none" and "no Parquet" in broken.note


def test_pictures_are_known_by_their_content(blobs: LocalBlobStore) -> None:
    """A name alone makes no picture; a page for browsers is never one."""
    assert preview(blobs, "plot", PNG).kind == "image"
    assert image_type("a.jpg", b"\xff\xd8\xff\xe0") == "image/jpeg"
    assert image_type("a.webp", b"RIFF\0\0\0\0WEBPVP8 ") == "image/webp"
    assert image_type("a.wav", b"RIFF\0\0\0\0WAVE") == ""
    assert image_type("a.png", b"<html><script>alert(1)</script>") == ""
    assert image_type("a.svg", b"<svg xmlns='x'>") == "image/svg+xml"
    assert preview(blobs, "page.html", b"<script>alert(1)</script>").kind == "text"


def test_what_is_none_of_these_is_not_shown(blobs: LocalBlobStore) -> None:
    """A pickle, and text of another encoding, are to be downloaded."""
    for name, content in (("model.pkl", b"\x80\x04\x95\0\0"), ("old.txt", "für".encode("latin-1")), ("n.txt", b"a\0b")):
        assert preview(blobs, name, content).kind == "none", name
