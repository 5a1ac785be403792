"""JSON schema of a study's config, for editors. Imports no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from .study import Study
from .task_entry import STUDENT_PROTOCOLS, TaskEntry


def config_schema(
    task_models: Mapping[str, type[TaskEntry]], benchmarks: Sequence[str]
) -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a config.

    A task's `kind` decides its keys. Two kinds of entries are incomplete until they are resolved:
    one with `benchmark`, and a student's, which inherits keys from its teacher's.

    Args:
        task_models: entry model of each kind of task.
        benchmarks: names of the declared benchmarks.
    """
    schema = Study.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    definitions.pop("TaskEntry", None)
    branches = []
    for kind, model in task_models.items():
        task = model.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
        definitions.update(task.pop("$defs", {}))
        definitions[kind] = task
        branches.append(
            {
                "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
                "then": {"$ref": f"#/$defs/{kind}"},
            }
        )
    definitions["task"] = {
        "type": "object",
        "properties": {
            "kind": {"enum": list(task_models)},
            "benchmark": {"enum": list(benchmarks)},
        },
        "anyOf": [
            {"required": ["kind"], "allOf": branches},
            {"required": ["benchmark"]},
            {
                "required": ["checkpoint", "protocol"],
                "properties": {"protocol": {"enum": list(STUDENT_PROTOCOLS)}},
            },
        ],
    }
    tasks = schema["properties"]["tasks"]
    tasks["additionalProperties"] = {"$ref": "#/$defs/task"}
    tasks.pop("patternProperties", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
