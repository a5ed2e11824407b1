"""The OpenAPI document and the reference page: complete, consistent, made of what is served."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec

from burnish.dialects.native.errors import CODES
from burnish.dialects.native.table import OPERATIONS
from burnish.server import PAGES
from burnish.web import reference
from native.surface import DOCUMENT, Visitor


def references(node: Any) -> Iterator[str]:
    """Every $ref below."""
    if isinstance(node, dict):
        if isinstance(found := node.get("$ref"), str):
            yield found
        for member in node.values():
            yield from references(member)
    elif isinstance(node, list):
        for member in node:
            yield from references(member)


def described() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def test_every_operation_is_described() -> None:
    """What is served is in the document, and nothing else; ids are unique."""
    served = {(operation.path, operation.method.lower()) for operation in (*OPERATIONS, *PAGES)}
    assert {(path, method) for path, method, _ in described()} == served
    ids = [operation["operationId"] for _, _, operation in described()]
    assert len(set(ids)) == len(ids)


def test_every_reference_leads_somewhere() -> None:
    """Each $ref names a schema of the document, and each schema is used."""
    plain = json.loads(msgspec.json.encode(DOCUMENT))
    named = {name.removeprefix("#/components/schemas/") for name in references(plain)}
    assert named == set(plain["components"]["schemas"])


def test_parameters_are_those_of_the_path() -> None:
    """Each `{name}` of a path is described, and required."""
    for path, _, operation in described():
        in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path" and one["required"]}
        assert in_path == set(re.findall(r"{(\w+)}", path))


def test_examples_are_what_the_service_speaks() -> None:
    """Every example of a body is read by the type that it is an example of."""
    examples = 0
    for operation in (*OPERATIONS, *PAGES):
        for type_, example in (
            (operation.reads, operation.example),
            *((type_, operation.answer_example) for type_ in operation.answers.values()),
        ):
            if isinstance(type_, type) and example is not None:
                msgspec.json.decode(msgspec.json.encode(example), type=type_)
                examples += 1
        if operation.tag != "Service" and isinstance(operation.answers.get(200), type):
            assert operation.answer_example is not None, operation.id
    assert examples >= 10


def test_codes_are_told_with_their_status() -> None:
    """A refusal's codes stand under the status that they are answered with, and each is explained."""
    for _, _, operation in described():
        for status, response in operation["responses"].items():
            for code in response.get("x-codes", ()):
                assert CODES[code].status == int(status)
                assert DOCUMENT["x-error-codes"][code]["meaning"] in response["description"]


async def test_the_document_names_the_address_it_came_from(visitor: Visitor) -> None:
    """/openapi.json is OpenAPI 3.1 with this service's own address."""
    reply = await visitor.http.get("/openapi.json")
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["openapi"].startswith("3.1")
    assert reply.json()["servers"] == [{"url": visitor.resources.settings.public_url}]


class Page(HTMLParser):
    """Ids, links and tags of a page; fails on a tag that is closed by another's end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in attrs if name in {"href", "src"} and value]
        if tag not in {"meta", "link", "br", "img"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


async def test_the_page_tells_everything_and_loads_nothing(visitor: Visitor) -> None:
    """Every operation, shape and code has its place on the page; links lead to them; nothing else is fetched or run."""
    reply = await visitor.http.get("/docs")
    page = Page(reply.text)
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.tags.isdisjoint({"script", "link", "img", "iframe"})
    assert len(set(page.ids)) == len(page.ids)
    wanted = {operation["operationId"] for _, _, operation in described()} | CODES.keys()
    wanted |= {f"shape-{name}" for name in DOCUMENT["components"]["schemas"]}
    assert sorted(wanted - set(page.ids)) == []
    assert sorted({link for link in page.links if link[0] == "#"} - {f"#{id_}" for id_ in page.ids}) == []
    assert {link for link in page.links if link[0] != "#"} == {"/openapi.json"}


def test_what_the_document_says_is_text_and_no_markup() -> None:
    """A description with markup in it is shown, not obeyed."""
    document = json.loads(msgspec.json.encode(DOCUMENT))
    document["info"]["title"] = document["paths"]["/health"]["get"]["summary"] = "<script>alert(1)</script>"
    assert "<script>" not in reference.page(document)


def test_types_in_types_are_told_apart() -> None:
    """What a list or an object holds stands in brackets where it is more than one type."""
    page = reference.page(DOCUMENT)
    assert "null or null" not in re.sub("<[^>]*>", "", page)


def test_the_guide_shows_every_operation() -> None:
    """docs/reference/api.md has each path with its method."""
    guide = (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text("utf-8")
    missing = [
        f"{operation.method} {operation.path}"
        for operation in (*OPERATIONS, *PAGES)
        if f"`{operation.method} {operation.path}`" not in guide
    ]
    assert missing == []
