"""Archives of every writer are listed as Python's own module lists them; damaged and hostile ones are refused."""

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from upreid.data.sources.recognise import open_source
from upreid.data.sources.tar_headers import members
from upreid.errors import DataError

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
LONG = "d/" * 20 + "ä人" * 60 + ".jpg"


def add(tar: tarfile.TarFile, name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    header = tarfile.TarInfo(name)
    header.size, header.type, header.linkname = len(content), kind, link
    tar.addfile(header, io.BytesIO(content))


def written(path: Path, form: str = "gnu") -> Path:
    with tarfile.open(path, "w", format=FORMATS[form]) as tar:
        add(tar, "folder", kind=tarfile.DIRTYPE)
        add(tar, "./folder/a.jpg", b"first")
        add(tar, "link.jpg", kind=tarfile.SYMTYPE, link="/etc/passwd")
        add(tar, "hard.jpg", kind=tarfile.LNKTYPE, link="../../x")
        add(tar, "pipe.jpg", kind=tarfile.FIFOTYPE)
        add(tar, "folder/._a.jpg", b"of a Mac")
        add(tar, "b.png", b"second" * 200)
        if form != "ustar":
            add(tar, LONG, b"third")
        add(tar, "c.json", b"{}")
        add(tar, "empty.jpg")
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_the_list_is_that_of_the_standard_library(tmp_path: Path, form: str) -> None:
    path = written(tmp_path / "a.tar", form)
    with tarfile.open(path) as tar:
        expected = [(member.name, member.offset_data, member.size) for member in tar if member.isreg()]
    assert list(members(path)) == expected
    assert form == "ustar" or expected[3][0] == LONG


@pytest.mark.parametrize("form", FORMATS)
def test_links_hidden_files_and_other_files_are_no_images(tmp_path: Path, form: str) -> None:
    source = open_source(written(tmp_path / "a.tar", form))
    long = [LONG] if form != "ustar" else []
    assert [source.name(index) for index in range(len(source))] == ["folder/a.jpg", "b.png", *long, "empty.jpg"]
    assert [source.read(index) for index in range(2)] == [b"first", b"second" * 200]


def test_an_archive_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.tar").read_bytes()
    end = whole.rindex(b"empty.jpg") + 512 - whole.rindex(b"empty.jpg") % 512  # of the last member: zeros from here
    for length in (*range(0, end, 97), *range(0, end + 1, 512)):
        (tmp_path / "a.tar").write_bytes(whole[:length])
        with pytest.raises(DataError, match="cut short"):
            list(members(tmp_path / "a.tar"))


def changed(content: bytes, at: int, **fields: object) -> bytes:
    """Rewrite a header with a checksum that fits."""
    header = tarfile.TarInfo.frombuf(content[at : at + 512], "utf-8", "surrogateescape")
    for name, value in fields.items():
        setattr(header, name, value)
    return content[:at] + header.tobuf(tarfile.GNU_FORMAT)[-512:] + content[at + 512 :]


@pytest.mark.parametrize("size", [10**6, 2**40, 2**62, -1, -512, -(2**62)])
def test_sizes_beyond_the_archive_are_refused(tmp_path: Path, size: int) -> None:
    content = written(tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(changed(content, 512, size=size))
    with pytest.raises(DataError, match=r"cut short or damaged|no tar header"):
        list(members(tmp_path / "a.tar"))


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE])
def test_a_name_of_a_thousand_million_letters_is_not_read(tmp_path: Path, kind: bytes) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 2**30
    with (tmp_path / "a.tar").open("wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.truncate(2**31)  # sparse: there are as many bytes as it says
    with pytest.raises(DataError, match="is absurd"):
        list(members(tmp_path / "a.tar"))


@pytest.mark.parametrize(
    "lines",
    [
        b"9999999 path=x\n",
        b"0 path=x\n",
        b"-5 path=x\n",
        b"8 path\n\n",
        b"x path=y\n",
        b"18 size=-1000000\n\n",
        b"13 size=1e99\n",
    ],
)
def test_damaged_extensions_are_refused(tmp_path: Path, lines: bytes) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, len(lines)
    member = tarfile.TarInfo("a.jpg")
    content = header.tobuf() + lines.ljust(512, b"\0") + member.tobuf() + bytes(1024)
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match=r"damaged"):
        list(members(tmp_path / "a.tar"))


def test_names_that_lead_outside_lead_nowhere(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "/etc/a.jpg", b"one")
        add(tar, "x/y/b.jpg\x1b[2J", b"two")
        add(tar, "x/\x1b[2J/c.jpg", b"three")
    source = open_source(tmp_path / "a.tar")
    assert [source.read(index) for index in range(len(source))] == [b"one", b"three"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tars") / "a.tar"


@pytest.fixture(scope="module")
def whole(file: Path) -> dict[str, bytes]:
    return {form: written(file, form).read_bytes()[:8192] for form in FORMATS}


CHANGES = some.lists(some.tuples(some.integers(0, 2**16), some.binary(min_size=1, max_size=12)), min_size=1, max_size=4)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(form=some.sampled_from([*FORMATS]), changes=CHANGES, repair=some.booleans())
def test_a_damaged_archive_is_listed_inside_its_bounds_or_refused(
    file: Path, whole: dict[str, bytes], form: str, changes: list[tuple[int, bytes]], repair: bool
) -> None:
    content = bytearray(whole[form])
    for at, new in changes:
        at %= len(content) - len(new)
        content[at : at + len(new)] = new
        if repair:
            block = at - at % 512
            total = sum(content[block : block + 148]) + 256 + sum(content[block + 156 : block + 512])
            content[block + 148 : block + 156] = b"%06o\0 " % total
    file.write_bytes(content)
    try:
        found = list(members(file))
    except DataError:
        return
    assert all(512 <= member.position <= member.position + member.size <= len(content) for member in found)
    assert len(found) <= len(content) // 512
