"""/openapi.json, made from the structs that the handlers really encode and decode."""

from __future__ import annotations

import msgspec

from dragonfly.supernode.api.problems import Problem
from dragonfly.supernode.api.tasks import PeerInfo, Stats, TaskDetail, TaskSummary
from dragonfly.supernode.preheat.jobs import Job, PreheatRequest

__all__ = ["document"]

_REF = "#/components/schemas/{name}"


def document(version: str) -> dict[str, object]:
    """The OpenAPI 3.1 description of the API."""
    kinds = [TaskSummary, TaskDetail, PeerInfo, Stats, PreheatRequest, Job, Problem]
    _, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    paths: dict[str, object] = {
        "/healthz": {"get": _call("Ready to serve", "200", None)},
        "/metrics": {"get": _call("Prometheus metrics", "200", None)},
        "/api/v1/tasks": {"get": _call("All tasks", "200", _many("TaskSummary"))},
        "/api/v1/tasks/{task_id}": {
            "parameters": [_path("task_id", "sha256-HEX of a blob, or url-HEX")],
            "get": _call("One task with all its nodes", "200", _one("TaskDetail"), "404"),
            "delete": _call("Delete a task on the seed and on every node", "204", None, "401", "404"),
        },
        "/api/v1/peers": {"get": _call("Nodes with a session", "200", _many("PeerInfo"))},
        "/api/v1/stats": {"get": _call("Totals since the start", "200", _one("Stats"))},
        "/api/v1/preheats": {
            "get": _call("All preheats", "200", _many("Job")),
            "post": _call("Fetch a file or an image beforehand", "201", _one("Job"), "400", "401")
            | {"requestBody": {"required": True, "content": {"application/json": {"schema": _one("PreheatRequest")}}}},
        },
        "/api/v1/preheats/{id}": {
            "parameters": [_path("id", "what POST answered")],
            "get": _call("How a preheat goes", "200", _one("Job"), "404"),
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Dragonfly supernode", "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"apiToken": {"type": "http", "scheme": "bearer"}},
        },
    }


def _one(name: str) -> dict[str, object]:
    return {"$ref": _REF.format(name=name)}


def _many(name: str) -> dict[str, object]:
    return {"type": "array", "items": _one(name)}


def _path(name: str, text: str) -> dict[str, object]:
    return {"name": name, "in": "path", "required": True, "description": text, "schema": {"type": "string"}}


def _call(text: str, status: str, schema: dict[str, object] | None, *failures: str) -> dict[str, object]:
    content = {"content": {"application/json": {"schema": schema}}} if schema is not None else {}
    responses: dict[str, object] = {status: {"description": text} | content}
    for failure in failures:
        responses[failure] = {
            "description": "see the problem",
            "content": {"application/problem+json": {"schema": _one("Problem")}},
        }
    call: dict[str, object] = {"summary": text, "responses": responses}
    if "401" in failures:
        call["security"] = [{"apiToken": []}, {}]
    return call
