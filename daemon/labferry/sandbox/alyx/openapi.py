"""The OpenAPI description of the sandbox's Alyx, written from its own routes.

Room: sandbox. Clients read from it which endpoints, actions and parameters exist.
"""

from __future__ import annotations

from collections.abc import Sequence

from labferry.sandbox.alyx.api import Route

_PLURAL = {"GET": "list", "POST": "create"}
_SINGULAR = {"GET": "retrieve", "PUT": "update", "PATCH": "partial_update", "DELETE": "destroy"}


def describe(routes: Sequence[Route]) -> dict[str, object]:
    """Return the description of `routes`."""
    paths: dict[str, object] = {}
    schemas: dict[str, object] = {}
    for route in routes:
        name = _schema_name(route)
        if route.fields:
            properties = {field.name: _property(field.kind, null=field.null) for field in route.fields}
            required = [field.name for field in route.fields if field.required]
            schemas[name] = {"type": "object", "properties": properties}
            if required:
                schemas[name] = {"type": "object", "properties": properties, "required": required}
        paths[route.path] = {method.lower(): _operation(route, method, name) for method in route.methods}
    return {
        "openapi": "3.0.3",
        "info": {"title": "Alyx sandbox", "version": "3.6.1"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"tokenAuth": {"type": "apiKey", "in": "header", "name": "Authorization"}},
        },
    }


def _schema_name(route: Route) -> str:
    words = route.path.strip("/").split("/")[0].replace("_", "-").split("-")
    return "".join(word.capitalize() for word in words)


def _property(kind: str, *, null: bool) -> dict[str, object]:
    described: dict[str, object] = {"type": kind}
    if kind == "array":
        described["items"] = {"type": "string"}
    if null:
        described["nullable"] = True
    return described


def _operation(route: Route, method: str, schema: str) -> dict[str, object]:
    single = "{" in route.path
    action = (_SINGULAR if single else _PLURAL).get(method, method.lower())
    operation: dict[str, object] = {
        "operationId": f"{route.path.strip('/').split('/')[0]}_{action}".replace("-", "_"),
        "parameters": _parameters(route, method),
        "responses": {"201" if method == "POST" else "200": {"description": ""}},
    }
    if route.fields and method in ("POST", "PUT", "PATCH"):
        content = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
        operation["requestBody"] = {"content": {"application/json": content}}
    if not route.open:
        operation["security"] = [{"tokenAuth": []}]
    return operation


def _parameters(route: Route, method: str) -> list[dict[str, object]]:
    if "{" in route.path:
        name = route.path[route.path.index("{") + 1 : -1]
        return [{"in": "path", "name": name, "required": True, "schema": {"type": "string"}}]
    if method != "GET":
        return []
    return [{"in": "query", "name": name, "schema": {"type": "string"}} for name in route.parameters]
