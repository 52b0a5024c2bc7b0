"""The JSON Schema of nodes.lock.json, for editors: made from the classes of `lock.py`.

`python -m comfyport.nodes.schema` prints nodes.lock.schema.json; a test keeps the two the same.
"""

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from comfyport.nodes.lock import Lock


class _Generator(GenerateJsonSchema):
    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        # `discriminator` is a word of OpenAPI's; validators in strict mode refuse a schema with words they do not know.
        return {word: value for word, value in super().tagged_union_schema(schema).items() if word != "discriminator"}


def document() -> dict[str, Any]:
    """The schema, JSON Schema 2020-12. It has no `$id`, so that a lock names the file by its relative path."""
    made = Lock.model_json_schema(schema_generator=_Generator)
    return {"$schema": GenerateJsonSchema.schema_dialect, **made, "title": "nodes.lock.json"}


def text() -> str:
    """The schema as nodes.lock.schema.json holds it."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(text())
