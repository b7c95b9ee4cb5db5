"""Content by digest: checked on arrival, kept on disk."""

import blake3
import httpx
import msgspec
import pytest

from tournant.domain.data import Tree, TreeFile
from tournant.errors import Invalid
from tournant.serving.artifacts import ArtifactCache, NotYet

CONTENT = b"a model"
DIGEST = blake3.blake3(CONTENT).hexdigest()


def cache(tmp_path, blobs, trees=None, calls=None):
    def answer(request):
        if calls is not None:
            calls.append(request.url.path)
        name = request.url.path.split("/")[3]
        if request.url.path.endswith("/tree"):
            return httpx.Response(200, content=msgspec.json.encode(trees[name]))
        return httpx.Response(200, content=blobs[name]) if name in blobs else httpx.Response(404)

    return ArtifactCache(tmp_path, httpx.Client(transport=httpx.MockTransport(answer), base_url="http://control"))


def test_file_is_fetched_once(tmp_path):
    """The second call, in another life too, needs no control plane."""
    calls = []
    assert cache(tmp_path, {DIGEST: CONTENT}, calls=calls).file(DIGEST).read_bytes() == CONTENT
    assert cache(tmp_path, {}, calls=calls).file(DIGEST).read_bytes() == CONTENT
    assert len(calls) == 1


def test_damaged_content_is_refused(tmp_path):
    """What is not what its digest says is not kept."""
    with pytest.raises(Invalid, match="damaged"):
        cache(tmp_path, {DIGEST: b"something else"}).file(DIGEST)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_absent_and_unreachable_are_told_apart(tmp_path):
    """What is not there will not be there later; what does not answer may."""
    with pytest.raises(Invalid, match="not in the content store"):
        cache(tmp_path, {}).file(DIGEST)

    def fail(request):
        raise httpx.ConnectError("refused")

    client = httpx.Client(transport=httpx.MockTransport(fail), base_url="http://control")
    with pytest.raises(NotYet):
        ArtifactCache(tmp_path, client).file(DIGEST)


def test_tree_becomes_a_folder_and_what_is_not_kept_goes(tmp_path):
    """Files lie under their paths."""
    file = TreeFile(digest=DIGEST, size_bytes=len(CONTENT), executable=True)
    tree = "ab" * 32
    artifacts = cache(tmp_path, {DIGEST: CONTENT}, {tree: Tree(files={"deep/model.pkl": file})})
    path = artifacts.tree(tree)
    assert (path / "deep" / "model.pkl").read_bytes() == CONTENT
    assert (path / "deep" / "model.pkl").stat().st_mode & 0o100
    artifacts.file(DIGEST)
    artifacts.keep({DIGEST})
    assert not path.exists()
    assert artifacts.file(DIGEST).exists()


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_tree_stays_in_its_folder(tmp_path, name):
    """A manifest cannot write elsewhere."""
    file = TreeFile(digest=DIGEST, size_bytes=len(CONTENT))
    with pytest.raises(Invalid, match="outside"):
        cache(tmp_path, {DIGEST: CONTENT}, {"ab" * 32: Tree(files={name: file})}).tree("ab" * 32)
