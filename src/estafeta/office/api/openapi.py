"""OpenAPI: the table for programs that read descriptions (OpenAPI 3.1, JSON Schema 2020-12).

Promises: nothing is said here that the table, the structs and the catalogue of errors do not say;
every status that a route may answer is in it, with its body.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec

from estafeta.office.api.errors import MEANING, STATUS, Code
from estafeta.office.api.route import EVERYWHERE, PATH, PREFIX, Parameter, Route
from estafeta.office.api.table import ROUTES

_SCHEMAS = "#/components/schemas/{name}"
_LANGUAGE = Parameter(
    "Accept-Language", "the languages it may be written in, most wanted first", str
)

# Headers by status: RFC 9110 §11.6.1, §15.5.6, §10.2.3.
_HEADERS: dict[int, tuple[str, str, bool]] = {
    401: ("WWW-Authenticate", "what was expected", True),
    405: ("Allow", "the methods that the path has", True),
    429: ("Retry-After", "seconds", True),
    503: ("Retry-After", "seconds", False),
}


@cache
def encoded() -> bytes:
    """As it is served."""
    return msgspec.json.encode(description())


def openapi_page() -> str:
    """As it stands in docs/."""
    return json.dumps(description(), indent=1, ensure_ascii=False) + "\n"


def description() -> dict[str, Any]:
    """The whole."""
    answers = [route.returns for route in ROUTES if route.returns is not None]
    bodies = [route.body for route in ROUTES if route.body is not None]
    _, taken = msgspec.json.schema_components(bodies, ref_template=_SCHEMAS)
    _, given = msgspec.json.schema_components(answers, ref_template=_SCHEMAS)
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "estafeta",
            "version": "1",
            "description": "The queue, the journeys of messages, and what may come in.",
        },
        "servers": [{"url": PREFIX}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Made by `estafeta token add`, for an account or for "
                    "administration.",
                }
            },
            "schemas": {
                "Error": _ERROR,
                # What is both taken and given is described as it is taken.
                **{name: _whole(_told(schema)) for name, schema in given.items()},
                **{name: _told(schema) for name, schema in taken.items()},
            },
            "responses": {
                _name(codes): _response(codes)
                for codes in dict.fromkeys(
                    codes for route in ROUTES for codes in _by_status(route).values()
                )
            },
        },
    }


_ERROR: dict[str, Any] = {
    "title": "Error",
    "description": "What is refused. error: for programs; detail: a sentence for people.",
    "type": "object",
    "properties": {
        "error": {"enum": list(STATUS)},
        "detail": {"type": "string", "minLength": 1},
    },
    "required": ["error", "detail"],
    "additionalProperties": False,
}


def _operation(route: Route) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.about,
        "description": f"Scope: {route.scope}.",
        "tags": [route.path.split("/")[1]],
    }
    parameters = [
        _parameter(PATH[name], "path", required=True) for name in re.findall(r"{(\w+)}", route.path)
    ]
    parameters += [_parameter(each, "query") for each in route.query]
    if route.in_language:
        parameters.append(_parameter(_LANGUAGE, "header"))
    if parameters:
        said["parameters"] = parameters
    if route.body is not None:
        said["requestBody"] = {
            "required": any(field.required for field in msgspec.structs.fields(route.body)),
            "content": _json_of(route.body),
        }
    answered: dict[str, Any] = {"description": route.answer}
    if route.status != 204:
        answered["content"] = _json_of(route.returns)
    said["responses"] = {
        str(route.status): answered,
        **{
            str(status): {"$ref": f"#/components/responses/{_name(codes)}"}
            for status, codes in sorted(_by_status(route).items())
        },
    }
    return said


def _parameter(parameter: Parameter, place: str, *, required: bool = False) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": place,
        "required": required or parameter.needed,
        "description": parameter.about,
        "schema": _schema(parameter.takes),
    }


def _json_of(kind: Any) -> dict[str, Any]:
    return {"application/json": {"schema": _schema(kind)}}


def _schema(kind: Any) -> Any:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_SCHEMAS)
    return schema


def _told(schema: dict[str, Any]) -> dict[str, Any]:
    """With its docstring as one line."""
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].split())
    return schema


def _whole(schema: dict[str, Any]) -> dict[str, Any]:
    """Of an answer: fields have defaults for who makes it, not for who reads it."""
    if "properties" in schema:
        schema["required"] = list(schema["properties"])
        for each in schema["properties"].values():
            each.pop("default", None)
    return schema


# Errors ----------------------------------------------------------------------------------------


def _by_status(route: Route) -> dict[int, tuple[Code, ...]]:
    found: dict[int, tuple[Code, ...]] = {}
    for code in (*EVERYWHERE, *route.errors):
        found[STATUS[code]] = (*found.get(STATUS[code], ()), code)
    return found


def _name(codes: Iterable[Code]) -> str:
    return "-or-".join(codes)


def _response(codes: tuple[Code, ...]) -> dict[str, Any]:
    status = STATUS[codes[0]]
    said: dict[str, Any] = {
        "description": "; or ".join(MEANING[code] for code in codes),
        "content": {
            "application/json": {
                "schema": {
                    "allOf": [{"$ref": _SCHEMAS.format(name="Error")}],
                    "properties": {"error": {"enum": list(codes)}},
                }
            }
        },
    }
    if status in _HEADERS:
        name, about, required = _HEADERS[status]
        said["headers"] = {
            name: {"description": about, "required": required, "schema": {"type": "string"}}
        }
    return said
