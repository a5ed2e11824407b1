"""OpenAPI 3.1 of a surface, made from the table that serves it and the types that its bodies are decoded into."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from burnish.web.operation import Code, Operation

Schema = dict[str, Any]

_JSON: Final = "application/json"
_REQUEST_ID: Final = {
    "description": "The request's id, also in the operator's log.",
    "schema": {"type": "string"},
}
#: On every reply to a key that has limits.
_LIMITS: Final = {
    "RateLimit-Policy": {"description": "The limits that hold here.", "schema": {"type": "string"}},
    "RateLimit": {
        "description": "Of each limit: `r`, how many are left, and `t`, in how many seconds all are.",
        "schema": {"type": "string"},
    },
}
#: Codes that an operation may answer with because of how it is entered.
_ALWAYS: Final = ("internal", "draining")
_WITH_KEY: Final = (
    "missing_key", "malformed_key", "unknown_key", "revoked_key", "expired_key", "address_not_allowed",
    "ip_rate_limited",
    "database_unavailable", "limits_unavailable",
)  # fmt: skip
_NO_SCOPE: Final = ("open", "signed", "key")
_SIGNED: Final = ("ip_rate_limited", "database_unavailable", "limits_unavailable")


def document(
    *,
    title: str,
    version: str,
    description: str,
    url: str,
    operations: Sequence[Operation],
    codes: Mapping[str, Code],
    error: type[Any],
    other_types: Iterable[type[Any]] = (),
) -> Schema:
    """The whole document. `error` is the body of every refusal; `other_types` are what schemas refer to by name."""
    types = [error, *other_types]
    for operation in operations:
        bodies = (operation.reads, operation.query, *operation.answers.values())
        types += [body for body in bodies if isinstance(body, type)]
    _, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    paths: defaultdict[str, Schema] = defaultdict(dict)
    for operation in operations:
        paths[operation.path][operation.method.lower()] = _operation(operation, codes, error, schemas)
    used_as_query = {operation.query.__name__ for operation in operations if operation.query}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "servers": [{"url": url}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in operations)],
        "paths": dict(paths),
        "components": {
            "schemas": {name: schema for name, schema in schemas.items() if name not in used_as_query},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A key, as `Bearer bk_…`."}
            },
        },
        "x-error-codes": {name: code._asdict() for name, code in codes.items()},
    }


def _operation(operation: Operation, codes: Mapping[str, Code], error: type[Any], schemas: Schema) -> Schema:
    described: Schema = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "security": [] if operation.access in {"open", "signed"} else [{"key": []}],
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation.query, schemas)],
        "responses": _answers(operation) | _refusals(operation, codes, error),
    }
    if operation.access not in _NO_SCOPE:
        described["x-scope"] = operation.access
    if operation.reads is not None:
        described["requestBody"] = {"required": True, "content": _content(operation.reads, operation.example)}
    return described


def _path_parameters(path: str) -> list[Schema]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(query: type[Any] | None, schemas: Schema) -> list[Schema]:
    if query is None:
        return []
    struct = schemas[query.__name__]
    return [
        {"name": name, "in": "query", "required": name in struct["required"], "schema": _given(schema)}
        for name, schema in struct["properties"].items()
    ]


def _given(schema: Schema) -> Schema:
    """A parameter's schema without null, which a query cannot say: it is left out instead."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    return options[0] if len(options) == 1 else schema


def _answers(operation: Operation) -> Schema:
    answers: Schema = {}
    for status, body in operation.answers.items():
        headers = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in operation.headers.items()
        }
        answers[str(status)] = {
            "description": operation.meanings.get(status, "Done."),
            "headers": headers | _common(operation),
        }
        if body is not None:
            answers[str(status)]["content"] = _content(body, operation.answer_example)
    return answers


def _refusals(operation: Operation, codes: Mapping[str, Code], error: type[Any]) -> Schema:
    names = [*operation.refuses, *_ALWAYS]
    if operation.access == "signed":
        names += _SIGNED
    elif operation.access != "open":
        names += (*_WITH_KEY, "polling_rate_limited" if operation.method == "GET" else "rate_limited")
    if operation.access not in _NO_SCOPE:
        names.append("scope_missing")
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        by_status[codes[name].status].append(name)
    return {
        str(status): {
            "description": " ".join(f"`{name}`: {codes[name].meaning}" for name in found),
            "headers": _common(operation),
            "content": _content(error, None),
            "x-codes": found,
        }
        for status, found in sorted(by_status.items())
    }


def _common(operation: Operation) -> Schema:
    """The headers of every reply."""
    limits = _LIMITS if operation.access not in {"open", "signed"} else {}
    return {"Request-Id": _REQUEST_ID, **limits}


def _content(body: Any, example: object) -> Schema:
    if isinstance(body, str):
        return {body: {}}
    content: Schema = {"schema": {"$ref": f"#/components/schemas/{body.__name__}"}}
    if example is not None:
        content["example"] = msgspec.json.decode(msgspec.json.encode(example))
    return {_JSON: content}
