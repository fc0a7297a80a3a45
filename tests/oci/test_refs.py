"""References and digests: what is read, what is refused, and that printing and reading agree."""

from __future__ import annotations

import hashlib
import re
import string

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from basetracker.errors import InvalidError
from basetracker.oci.refs import DOCKER_HUB, Digest, ImageRef, Repository, parse_image

SHA256 = "sha256:" + "1a2b3c4d" * 8
SHA512 = "sha512:" + "1a2b3c4d" * 16

READ = [
    # text, host, path, tag, digest
    ("contoso.azurecr.io/base/python:3.12", "contoso.azurecr.io", "base/python", "3.12", None),
    ("python", DOCKER_HUB, "library/python", None, None),
    ("python:3.12", DOCKER_HUB, "library/python", "3.12", None),
    ("bitnami/redis:7", DOCKER_HUB, "bitnami/redis", "7", None),
    ("docker.io/python:3", DOCKER_HUB, "library/python", "3", None),
    ("index.docker.io/python:3", DOCKER_HUB, "library/python", "3", None),
    ("registry-1.docker.io/library/python:3", DOCKER_HUB, "library/python", "3", None),
    ("localhost/app", "localhost", "app", None, None),
    ("localhost:5000/app:1", "localhost:5000", "app", "1", None),
    ("localhost:5000", DOCKER_HUB, "library/localhost", "5000", None),
    ("test.com:tag", DOCKER_HUB, "library/test.com", "tag", None),
    ("foo/foo_bar.com:8080", DOCKER_HUB, "foo/foo_bar.com", "8080", None),
    ("test:5000/repo", "test:5000", "repo", None, None),
    ("192.168.1.1:5000/repo:5050", "192.168.1.1:5000", "repo", "5050", None),
    ("[2001:db8::1]:5000/repo:tag", "[2001:db8::1]:5000", "repo", "tag", None),
    ("[::1]/repo", "[::1]", "repo", None, None),
    ("Contoso.AzureCR.io/app:1", "contoso.azurecr.io", "app", "1", None),
    ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com", "myimage", "xn--n3h.com", None),
    ("h.io/a_b/c__d/e---f/g.h:1", "h.io", "a_b/c__d/e---f/g.h", "1", None),
    ("h.io/a:_Tag-1.2", "h.io", "a", "_Tag-1.2", None),
    ("h.io/a:" + "b" * 128, "h.io", "a", "b" * 128, None),
    (f"h.io/a@{SHA256}", "h.io", "a", None, SHA256),
    (f"h.io/a:1@{SHA512}", "h.io", "a", "1", SHA512),
    ("h.io:1/a:1", "h.io:1", "a", "1", None),
    ("h.io:65535/a:1", "h.io:65535", "a", "1", None),
    ("f" * 64 + ":1", DOCKER_HUB, "library/" + "f" * 64, "1", None),
]

REFUSED = [
    # text, a part of what is said
    ("", "write it as host/repository:tag"),
    (" a:1", "write it as host/repository:tag"),
    ("a:1\n", "write it as host/repository:tag"),
    ("a" * 501, "write it as host/repository:tag"),
    ("f" * 64, "write it as host/repository:tag"),
    (":justtag", "lower case letters and digits"),
    ("/a:1", "lower case letters and digits"),
    ("a//b:1", "lower case letters and digits"),
    ("h.io/", "lower case letters and digits"),
    ("h.io/:1", "lower case letters and digits"),
    ("Uppercase:tag", "lower case letters and digits"),
    ("test:5000/Uppercase/lowercase:tag", "lower case letters and digits"),
    ("aa/asdf$$^/aa", "lower case letters and digits"),
    ("a/b:1/c:2", "lower case letters and digits"),
    ("h.io/a___b", "lower case letters and digits"),
    ("h.io/a..b", "lower case letters and digits"),
    ("h.io/-a", "lower case letters and digits"),
    ("h.io/a_", "lower case letters and digits"),
    ("h.io/ä", "lower case letters and digits"),
    ("h.io/a b:1", "lower case letters and digits"),
    ("[abc]:5000/repo:tag", "is not a host name"),
    ("[2001:db8::1]", "a tag is up to 128"),
    ("[2001:db8::1]:5000", "a tag is up to 128"),
    ("h.io/a:", "a tag is up to 128"),
    ("h.io/a:.1", "does not begin with '.' or '-'"),
    ("h.io/a:-1", "does not begin with '.' or '-'"),
    ("h.io/a:1+2", "a tag is up to 128"),
    ("h.io/a:1:2", "a tag is up to 128"),
    ("h.io/a:é", "a tag is up to 128"),
    ("h.io/a:" + "b" * 129, "a tag is up to 128"),
    ("https://h.io/a:1", "without https://"),
    ("-h.io/a:1", "not a host name"),
    ("h-.io/a:1", "not a host name"),
    ("h..io/a:1", "not a host name"),
    ("a_b.io/a:1", "not a host name"),
    ("h.io:/a:1", "not a host name"),
    ("h.io:port/a:1", "not a host name"),
    ("h.io:123456/a:1", "not a host name"),
    ("[fe80::1%eth0]:5000/repo", "not a host name"),
    ("\N{KELVIN SIGN}.io/a:1", "not a host name"),
    ("h.io:0/a:1", "a port is a number from 1 to 65535"),
    ("h.io:65536/a:1", "a port is a number from 1 to 65535"),
    ("h.io:99999/a:1", "a port is a number from 1 to 65535"),
    ("a@", "sha256:<64 hexadecimal digits>"),
    (f"@{SHA256}", "lower case letters and digits"),
    ("repo@sha256:" + "f" * 34, "sha256:<64 hexadecimal digits>"),
    (f"a@{SHA256.upper()}", "sha256:<64 hexadecimal digits>"),
    ("a@md5:" + "f" * 32, "sha256:<64 hexadecimal digits>"),
    (f"a@{SHA256}:tag", "sha256:<64 hexadecimal digits>"),
    (f"a@{SHA256}@{SHA256}", "sha256:<64 hexadecimal digits>"),
]


@pytest.mark.parametrize(("text", "host", "path", "tag", "digest"), READ, ids=[row[0][:40] for row in READ])
def test_what_is_read(text: str, host: str, path: str, tag: str | None, digest: str | None) -> None:
    wanted = ImageRef(repository=Repository(host, path), tag=tag, digest=Digest(digest) if digest else None)
    assert parse_image(text) == wanted
    assert wanted.host == host


@pytest.mark.parametrize(("text", "says"), REFUSED, ids=[repr(row[0][:40]) for row in REFUSED])
def test_what_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidError, match=re.escape(says)):
        parse_image(text)


def test_a_refusal_names_the_part_that_is_wrong() -> None:
    with pytest.raises(InvalidError, match=r"the repository 'Shop/App'"):
        parse_image("h.io/Shop/App:1")
    with pytest.raises(InvalidError, match=r"the registry 'h_1\.io'"):
        parse_image("h_1.io/app:1")
    with pytest.raises(InvalidError, match=r"the tag '1\+2'"):
        parse_image("h.io/app:1+2")
    with pytest.raises(InvalidError, match=r"the port 70000"):
        parse_image("h.io:70000/app:1")


def test_a_long_text_isnt_repeated_whole() -> None:
    with pytest.raises(InvalidError) as refusal:
        parse_image("a" * 10_000)
    assert len(str(refusal.value)) < 200
    with pytest.raises(InvalidError) as refusal:
        Digest("f" * 10_000)
    assert len(str(refusal.value)) < 200


def test_the_forms_of_one_reference() -> None:
    ref, digest = parse_image("h.io/shop/app:main"), Digest(SHA256)
    pinned = ref.pinned(digest)
    assert str(pinned) == f"h.io/shop/app:main@{SHA256}"
    assert pinned.tagged == ref
    assert str(ref.repository.at(digest)) == f"h.io/shop/app@{SHA256}"
    assert [item.target for item in (pinned, ref, parse_image("h.io/shop/app"))] == [SHA256, "main", "latest"]


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_the_algorithms_of_digests(algorithm: str) -> None:
    digest = Digest(f"{algorithm}:{hashlib.new(algorithm, b'one').hexdigest()}")
    assert digest.algorithm == algorithm
    assert digest.short == digest.value.partition(":")[2][:12]
    assert digest.matches(b"one")
    assert not digest.matches(b"other")


NO_DIGESTS = [
    "",
    "sha256:",
    "f" * 64,
    "sha256:" + "f" * 63,
    "sha256:" + "f" * 65,
    "sha512:" + "f" * 64,
    "sha1:" + "f" * 40,
    "sha384:" + "f" * 96,
    "sha256:" + "g" * 64,
    "SHA256:" + "f" * 64,
    SHA256 + "\n",
    " " + SHA256,
]


@pytest.mark.parametrize("text", NO_DIGESTS)
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(InvalidError, match="write it as sha256:<64 hexadecimal digits>"):
        Digest(text)


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_a_digest_is_of_its_content_alone(content: bytes, other: bytes) -> None:
    digest = Digest.of(content)
    assert Digest(str(digest)) == digest
    assert digest.matches(other) == (content == other)


_LABELS = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,6}[a-zA-Z0-9])?", fullmatch=True)
_PORTS = st.one_of(st.just(""), st.integers(1, 65535).map(lambda port: f":{port}"))
_NAMES = st.one_of(
    st.lists(_LABELS, min_size=2, max_size=4).map(".".join), st.sampled_from(["localhost", "[::1]", "[2001:db8::1]"])
)
_HOSTS = st.tuples(_NAMES, _PORTS).map("".join).map(str.lower)
_PATHS = st.lists(
    st.from_regex(r"[a-z0-9]{1,6}((\.|_|__|-{1,3})[a-z0-9]{1,6}){0,2}", fullmatch=True), min_size=1, max_size=4
).map("/".join)
_TAGS = st.one_of(st.none(), st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}", fullmatch=True))
_DIGESTS = st.one_of(
    st.none(),
    st.binary(max_size=4).map(Digest.of),
    st.binary(min_size=64, max_size=64).map(lambda raw: Digest(f"sha512:{raw.hex()}")),
)


@given(_HOSTS, _PATHS, _TAGS, _DIGESTS)
def test_what_is_printed_is_read_back(host: str, path: str, tag: str | None, digest: Digest | None) -> None:
    ref = ImageRef(repository=Repository(host, path), tag=tag, digest=digest)
    assert parse_image(str(ref)) == ref


@given(_PATHS, _TAGS)
def test_a_short_form_is_read_as_the_full_one(path: str, tag: str | None) -> None:
    short = path if tag is None else f"{path}:{tag}"
    assume("/" not in path or ("." not in path.partition("/")[0] and not path.startswith("localhost/")))
    assume(not re.fullmatch("[0-9a-f]{64}", short))
    ref = parse_image(short)
    assert parse_image(str(ref)) == ref
    assert ref.host == DOCKER_HUB
    assert ref == parse_image(f"docker.io/{short}")


# The reference grammar of Docker and the distribution project, written down anew: name, tag and digest.
_DOMAIN = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_ATOM = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_GRAMMAR = re.compile(
    rf"(?:{_DOMAIN}/)?{_ATOM}(?:/{_ATOM})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)
_TEXTS = st.one_of(
    st.text("abAB01.:/@-_[] \n", max_size=16),
    st.text(max_size=12),
    st.tuples(_HOSTS, _PATHS, st.text(string.printable, max_size=6)).map(lambda parts: "/".join(parts[:2]) + parts[2]),
)


@given(_TEXTS)
@example("a/b:1/c:2")
@example("h.io/a:1@sha256:ff")
@example("\N{KELVIN SIGN}.io/a")
@example("[::1]/a")
def test_nothing_is_read_that_the_grammar_refuses(text: str) -> None:
    try:
        ref = parse_image(text)
    except InvalidError:
        return
    assert _GRAMMAR.fullmatch(text)
    assert parse_image(str(ref)) == ref


@given(st.integers(0, 10**7))
def test_a_port_is_one_that_exists(port: int) -> None:
    text = f"h.io:{port}/a:1"
    if 1 <= port <= 65535:
        assert parse_image(text).host == f"h.io:{port}"
    else:
        with pytest.raises(InvalidError):
            parse_image(text)
