"""Signed links: what opens them, what does not, and which addresses are known as ours."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from burnish.errors import Forbidden
from burnish.ids import new_id, to_wire
from burnish.uploads.sign import Links

ROOT = "https://media.example.com"
END = datetime(2026, 5, 1, 12, 0, 0, 500_000, tzinfo=UTC)
BLOB = new_id()
LINKS = Links(["newest", "older"], ROOT)


def opened(links: Links, purpose: str, url: str) -> UUID:
    path, _, query = url.partition("?")
    return links.opened(purpose, path.rpartition("/")[2], query)[0]


def test_a_link_opens_its_blob_until_its_end() -> None:
    """The blob and the end come back; the end is never earlier than the blob's own."""
    path, _, query = LINKS.get("output", BLOB, END).partition("?")
    assert path == f"{ROOT}/v1/files/{to_wire('output', BLOB)}"
    blob, end = LINKS.opened("GET", path.rpartition("/")[2], query)
    assert blob == BLOB
    assert timedelta() <= end - END < timedelta(seconds=1)


def test_a_link_is_the_same_every_time() -> None:
    """A task read twice has the same links, so that what was fetched by one is cached for the other."""
    assert LINKS.get("output", BLOB, END) == LINKS.get("output", BLOB, END)


def test_a_link_is_for_one_purpose() -> None:
    """What reads does not write, and the reverse."""
    with pytest.raises(Forbidden):
        opened(LINKS, "PUT", LINKS.get("upload", BLOB, END))
    with pytest.raises(Forbidden):
        opened(LINKS, "GET", LINKS.put(BLOB, END))


def test_links_outlive_a_new_key_until_the_old_one_goes() -> None:
    """The newest key signs, every key opens, and a key that was taken away opens nothing."""
    before = Links(["older"], ROOT).get("output", BLOB, END)
    assert opened(LINKS, "GET", before) == BLOB
    assert opened(Links(["newest"], ROOT), "GET", LINKS.get("output", BLOB, END)) == BLOB
    with pytest.raises(Forbidden):
        opened(Links(["newest"], ROOT), "GET", before)


def test_nothing_but_the_whole_link_opens() -> None:
    """No member of it can be changed, left out, doubled or put elsewhere."""
    url = LINKS.get("upload", BLOB, END)
    path, _, query = url.partition("?")
    expires, signature = query.split("&")
    for changed in (
        path,
        f"{path}?{expires}",
        f"{path}?{signature}",
        f"{path}?{expires}0&{signature}",
        f"{path}?expires={int(expires[8:]) + 1}&{signature}",
        f"{path}?{expires}&{signature}A",
        f"{path}?{expires}&signature=",
        f"{path}?{expires}&signature=\udcff",
        f"{path.replace('upload_', 'output_')}?{query}",
        f"{path.upper()}?{query}",
        f"{ROOT}/v1/files/{to_wire('upload', new_id())}?{query}",
    ):
        with pytest.raises(Forbidden):
            opened(LINKS, "GET", changed)


def test_our_own_links_are_known_however_they_are_spelled() -> None:
    """A link of ours that comes back as an input is known by scheme, host, port and path."""
    url = LINKS.get("output", BLOB, END)
    for spelled in (
        url,
        url.replace("media.example.com", "MEDIA.example.com:443"),
        url.replace("https:", "HTTPS:"),
    ):
        found = LINKS.known(spelled)
        assert found is not None
        assert found[0] == BLOB


def test_other_addresses_are_not_ours() -> None:
    """Another host, port, scheme or folder, however alike, is left to the guard."""
    url = LINKS.get("output", BLOB, END)
    for other in (
        url.replace("media.", "media.evil."),
        url.replace("https://", "https://media.example.com@evil."),
        url.replace("https:", "http:"),
        url.replace(".com/", ".com:8443/"),
        url.replace("/v1/files/", "/v1/files/x/"),
        url.replace("/v1/files/", "/v2/files/"),
        f"{ROOT}/photo.jpg",
        "https://[::1/x",
        "https://media.example.com:port/v1/files/x",
        "",
    ):
        assert LINKS.known(other) is None, other


def test_a_link_of_ours_that_is_wrong_is_refused_not_fetched() -> None:
    """Under our own files nothing is ever fetched over HTTP."""
    with pytest.raises(Forbidden):
        LINKS.known(LINKS.get("output", BLOB, END)[:-1])
    with pytest.raises(Forbidden):
        LINKS.known(f"{ROOT}/v1/files/")


def test_a_service_under_a_path_knows_its_links() -> None:
    """`public_url` may have a path; what lies beside it on the same host is not ours."""
    links = Links(["newest"], f"{ROOT}/burnish")
    assert links.known(links.get("output", BLOB, END)) is not None
    assert links.known(f"{ROOT}/v1/files/x") is None
