"""Write the JSON schema of configs, for editors.

python -m embpress.pipeline.config_schema BENCHMARKS.yaml > config.schema.json
"""

import json
import sys
from pathlib import Path

from ..study.json_schema import config_schema
from ..study.yaml_files import read_yaml
from ..tasks import entry_model, kinds


def render_schema(benchmarks: Path) -> str:
    """The schema as JSON text.

    Args:
        benchmarks: the file that declares benchmarks, whose names are part of the schema.
    """
    models = {kind: entry_model(kind) for kind in kinds()}
    schema = config_schema(models, sorted(read_yaml(benchmarks)))
    return json.dumps(schema, indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_schema(Path(sys.argv[1])))
