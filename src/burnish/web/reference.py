"""The API for people: one page, made of the OpenAPI document, with nothing to load and nothing to run."""

import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final

from burnish.web.replies import Headers

Schema = Mapping[str, Any]

HEADERS: Final[Headers] = (
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; img-src data:"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


def page(document: Schema) -> str:
    """The whole page."""
    info = document["info"]
    by_tag: dict[str, list[str]] = {tag["name"]: [] for tag in document["tags"]}
    links: dict[str, list[str]] = {tag: [] for tag in by_tag}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = operation["tags"][0]
            by_tag[tag].append(_operation(document, path, method, operation))
            links[tag].append(_link(method, path, operation))
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(sections)}" for tag, sections in by_tag.items())
    menu = "".join(f"<h3>{escape(tag)}</h3><ul>{''.join(items)}</ul>" for tag, items in links.items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(info["title"])} API</title>
<style>{_STYLE}</style>
</head>
<body>
<nav>
<a class="name" href="#top">{escape(info["title"])} <small>{escape(info["version"])}</small></a>
{menu}
<h3>Reference</h3>
<ul><li><a href="#shapes">Shapes</a></li><li><a href="#errors">Errors</a></li>
<li><a href="/openapi.json">openapi.json</a></li></ul>
</nav>
<main id="top">
<h1>{escape(info["title"])} API</h1>
{_text(info["description"])}
{body}
<h2 id="shapes">Shapes</h2>
{"".join(_shape(name, schema) for name, schema in sorted(document["components"]["schemas"].items()))}
<h2 id="errors">Errors</h2>
{_errors(document["x-error-codes"])}
</main>
</body>
</html>
"""


def _link(method: str, path: str, operation: Schema) -> str:
    return (
        f'<li><a href="#{operation["operationId"]}"><b class="{method}">{method.upper()}</b> '
        f"<span>{escape(path.removeprefix('/v1'))}</span></a></li>"
    )


# --- one operation ------------------------------------------------------------------------------------------------


def _operation(document: Schema, path: str, method: str, operation: Schema) -> str:
    shown = re.sub(r"(\{\w+\})", r"<i>\1</i>", escape(path))
    parts = [
        f'<section id="{operation["operationId"]}">',
        f"<h3>{escape(operation['summary'])}</h3>",
        f'<p class="path"><b class="{method}">{method.upper()}</b> <code>{shown}</code> {_access(operation)}</p>',
        _text(operation["description"]),
        _parameters(operation["parameters"]),
        _request(document, operation),
        _example(document, path, method, operation),
        _responses(operation["responses"]),
        "</section>",
    ]
    return "".join(parts)


def _access(operation: Schema) -> str:
    if scope := operation.get("x-scope"):
        return f'<span class="tag">needs {escape(scope)}</span>'
    return '<span class="tag">any key</span>' if operation["security"] else '<span class="tag">no key</span>'


def _parameters(parameters: Iterable[Schema]) -> str:
    rows = [_row(one["name"], one["schema"], required=one["required"], where=one["in"]) for one in parameters]
    return f"<h4>Parameters</h4><table>{''.join(rows)}</table>" if rows else ""


def _request(document: Schema, operation: Schema) -> str:
    if "requestBody" not in operation:
        return ""
    content = next(iter(operation["requestBody"]["content"].values()))
    if not content:
        return "<h4>Body</h4><p>The bytes.</p>"
    shape = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    return f"<h4>Body</h4>{_fields(shape)}"


def _example(document: Schema, path: str, method: str, operation: Schema) -> str:
    """A call to paste, and what it answers."""
    lines = [f"curl {document['servers'][0]['url']}{path}"]
    if method != "get":
        lines[0] += f" -X {method.upper()}"
    if operation["security"]:
        lines.append('-H "Authorization: Bearer $BURNISH_API_KEY"')
    body = operation.get("requestBody", {})
    asked = _example_of(body)
    if asked is not None:
        lines += ['-H "Content-Type: application/json"', f"-d '{json.dumps(asked, ensure_ascii=False)}'"]
    elif body:
        lines += ['-H "Content-Type: image/jpeg"', "--data-binary @photo.jpg"]
    call = " \\\n  ".join(lines)
    answers = [_example_of(answer) for answer in operation["responses"].values()]
    answer = next((found for found in answers if found is not None), None)
    told = json.dumps(answer, indent=2, ensure_ascii=False) if answer is not None else ""
    shown = f"<details><summary>What it answers</summary><pre>{escape(told)}</pre></details>" if told else ""
    return f"<h4>Example</h4><pre>{escape(call)}</pre>{shown}"


def _example_of(holder: Schema) -> Any:
    return next((content.get("example") for content in holder.get("content", {}).values()), None)


def _responses(responses: Mapping[str, Schema]) -> str:
    rows = []
    for status, response in responses.items():
        content = next(iter(response.get("content", {}).items()), None)
        if codes := response.get("x-codes"):
            told = " ".join(f'<a href="#{code}"><code>{code}</code></a>' for code in codes)
        elif content is None:
            told = _inline(response["description"])
        else:
            shape = _type(content[1]["schema"]) if content[1] else f"<code>{escape(content[0])}</code>"
            told = f"{_inline(response['description'])} {shape}{_headers(response['headers'])}"
        kind = "good" if status < "400" else "bad"
        rows.append(f'<tr><td><b class="status {kind}">{status}</b></td><td>{told}</td></tr>')
    return f'<h4>Answers</h4><table class="answers">{"".join(rows)}</table>'


def _headers(headers: Mapping[str, Schema]) -> str:
    named = [
        f"<li><code>{escape(name)}</code> {_inline(header['description'])}</li>"
        for name, header in headers.items()
        if name != "Request-Id"
    ]
    return f'<ul class="headers">{"".join(named)}</ul>' if named else ""


# --- shapes and errors --------------------------------------------------------------------------------------------


def _shape(name: str, schema: Schema) -> str:
    return (
        f'<section id="shape-{name}"><h3>{name}</h3>{_text(schema.get("description", ""))}'
        f"{_fields(schema)}</section>"
    )


def _fields(schema: Schema) -> str:
    required = schema.get("required", ())
    rows = [
        _row(name, inner, required=name in required, where="")
        for name, inner in schema.get("properties", {}).items()
    ]
    return f"<table>{''.join(rows)}</table>"


def _row(name: str, schema: Schema, *, required: bool, where: str) -> str:
    marks = [where] if where else []
    if required:
        marks.append("required")
    elif schema.get("default") is not None:
        marks.append(f"default {json.dumps(schema['default'])}")
    told = f"<small>{escape(', '.join(marks))}</small>" if marks else ""
    meaning, kind = _inline(_description(schema)), _type(schema)
    return (
        f"<tr><td><code>{escape(name)}</code>{told}</td>"
        f"<td>{f'{meaning}<small>{kind}</small>' if meaning else kind}</td></tr>"
    )


def _description(schema: Schema) -> str:
    found = [schema.get("description", ""), *(one.get("description", "") for one in schema.get("anyOf", ()))]
    return " ".join(filter(None, found))


def _type(schema: Schema) -> str:
    """A schema's type in a few words."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return f'<a href="#shape-{name}">{name}</a>'
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(option) for option in options))
    if values := schema.get("enum"):
        return " | ".join(f"<code>{escape(json.dumps(value))}</code>" for value in values)
    kind = schema.get("type", "any JSON")
    if kind == "array":
        return f"list of {_grouped(schema['items'])}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"<span class='type'>object of</span> {_grouped(schema['additionalProperties'])}"
    return f'<span class="type">{escape(schema.get("format") or kind)}{_bounds(schema)}</span>'


def _grouped(schema: Schema) -> str:
    """Several types in brackets, so that what follows is not taken for one of them."""
    return f"({_type(schema)})" if len(schema.get("anyOf", ())) > 1 else _type(schema)


def _bounds(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None and high < 1 << 53:
        return f" {low}…{high}"
    return f" ≥ {low}" if low is not None else ""


def _errors(codes: Mapping[str, Schema]) -> str:
    rows = [
        f'<tr id="{name}"><td><b class="status bad">{code["status"]}</b> <code>{name}</code></td>'
        f"<td>{_inline(code['meaning'])} {_inline(code['remedy'])}</td></tr>"
        for name, code in codes.items()
    ]
    return f"<table>{''.join(rows)}</table>"


# --- text ---------------------------------------------------------------------------------------------------------


def _text(text: str) -> str:
    return "".join(f"<p>{_inline(paragraph)}</p>" for paragraph in text.split("\n\n") if paragraph.strip())


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


_STYLE: Final = """
:root { --ink: #1d2327; --soft: #5b6670; --line: #e2e6ea; --paper: #fff; --wash: #f6f7f9; --link: #9a4a12;
  --get: #1f6f54; --post: #9a4a12; --put: #5a4a9c; --bad: #a3312d; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ea; --soft: #9aa5ae; --line: #30373d; --paper: #15191c;
  --wash: #1d2226; --link: #e6a06a; --get: #6cc5a2; --post: #e6a06a; --put: #b0a3ee; --bad: #ec8f8a; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1.5rem; }
body { margin: 0; display: grid; grid-template-columns: 17rem minmax(0, 1fr); color: var(--ink);
  background: var(--paper); font: 16px/1.6 system-ui, sans-serif; }
nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 1.75rem 1.25rem; background: var(--wash);
  border-right: 1px solid var(--line); font-size: .875rem; }
nav .name { font-size: 1.25rem; font-weight: 700; color: var(--ink); text-decoration: none; }
nav .name small { color: var(--soft); font-weight: 400; font-size: .75rem; }
nav h3 { margin: 1.5rem 0 .25rem; font-size: .75rem; letter-spacing: .06em; text-transform: uppercase;
  color: var(--soft); }
nav ul { list-style: none; margin: 0; padding: 0; }
nav a { display: flex; gap: .5rem; padding: .15rem 0; color: var(--ink); text-decoration: none; align-items: baseline; }
nav a:hover span { text-decoration: underline; }
nav li b { flex: 0 0 2.6rem; font-size: .6875rem; }
main { padding: 2.5rem clamp(1.25rem, 5vw, 4rem) 6rem; max-width: 60rem; }
h1 { margin: 0 0 1rem; font-size: 2rem; line-height: 1.2; letter-spacing: -.015em; }
h2 { margin: 3.5rem 0 1rem; padding-bottom: .4rem; border-bottom: 1px solid var(--line); font-size: 1.4rem; }
main h3 { margin: 0 0 .35rem; font-size: 1.1rem; }
h4 { margin: 1.25rem 0 .35rem; font-size: .8rem; letter-spacing: .04em; text-transform: uppercase; color: var(--soft); }
section { padding: 1.5rem 0; border-bottom: 1px solid var(--line); }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--link); }
code, pre { font: .875em/1.55 ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace; }
code { overflow-wrap: anywhere; }
pre { margin: .5rem 0; padding: .9rem 1.1rem; overflow-x: auto; background: var(--wash); border: 1px solid var(--line);
  border-radius: 6px; }
.path { display: flex; flex-wrap: wrap; gap: .6rem; align-items: baseline; }
.path i { color: var(--soft); }
.tag { padding: 0 .5rem; border: 1px solid var(--line); border-radius: 1rem; font-size: .75rem; color: var(--soft); }
.get { color: var(--get); } .post { color: var(--post); } .put { color: var(--put); }
.status.good { color: var(--get); } .status.bad { color: var(--bad); }
table { width: 100%; border-collapse: collapse; }
td { padding: .45rem .75rem .45rem 0; border-top: 1px solid var(--line); vertical-align: top; }
td:first-child { width: 15rem; }
.answers td:first-child { width: 4.5rem; }
tr:first-child td { border-top: 0; }
tr:target td { background: var(--wash); }
td small { display: block; color: var(--soft); }
.type { color: var(--soft); }
.headers { margin: .4rem 0 0; padding: 0; list-style: none; font-size: .9rem; }
details { margin-top: 1rem; } summary { cursor: pointer; color: var(--link); }
@media (max-width: 55rem) { body { display: block; } nav { position: static; height: auto; border-right: 0;
  border-bottom: 1px solid var(--line); } td:first-child { width: 9rem; } }
"""
