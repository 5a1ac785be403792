"""Export splits of data sets from the Hugging Face hub, at a pinned revision, as JSON lines.

Files are downloaded to the hub client's own cache, so that a machine without network can read what
another machine downloaded. Only data files and the dataset card are downloaded, never code, and
`datasets` runs none.
"""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..errors import UserError
from ..files import write_text
from ..study.task_data import HubDataset
from .hub_files import download_snapshot

if TYPE_CHECKING:
    from datasets import Dataset

CODE = ["*.py"]
DataFiles: TypeAlias = "str | list[DataFiles] | dict[str, DataFiles]"
"""The value of `data_files` in a dataset card."""


def export_split(hub: HubDataset, split: str, out: Path) -> int:
    """Write one split to `out`, one JSON object per row.

    Class labels are written by their names, and as "-1" where a row has none.

    Args:
        hub: name, pinned revision, and configuration where the data set has several.
        split: the split's name on the hub.
        out: path of the file, which is written completely or not at all.

    Returns:
        The number of rows.

    Raises:
        UserError: if the data set, its revision, configuration or split cannot be downloaded or
            read.
    """
    import datasets

    datasets.disable_progress_bars()
    folder = _snapshot(hub)
    name = " ".join(filter(None, (hub.dataset, hub.name, f"at {hub.revision[:8]}")))
    with tempfile.TemporaryDirectory() as cache:
        try:
            # Verification would compare with sizes that cards often get wrong; the content is
            # already pinned by the revision.
            rows = datasets.load_dataset(
                str(folder),
                hub.name,
                split=split,
                cache_dir=cache,
                verification_mode="no_checks",
            )
        except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{name}: split {split!r} cannot be read ({reason}): check `split`"
            ) from error
        columns = _named_labels(rows).to_dict()
    lines = [
        json.dumps(dict(zip(columns, row)), ensure_ascii=False) for row in zip(*columns.values())
    ]
    write_text(out, "".join(f"{line}\n" for line in lines))
    return len(lines)


def _snapshot(hub: HubDataset) -> Path:
    """Folder of a revision in the hub client's cache, with the configuration's files."""
    card = download_snapshot("dataset", hub.dataset, hub.revision, ["README.md"], CODE)
    return download_snapshot(
        "dataset", hub.dataset, hub.revision, ["README.md", *_patterns(card, hub)], CODE
    )


def _patterns(folder: Path, hub: HubDataset) -> list[str]:
    """Patterns of a configuration's files, as the card lists them, or else of all files."""
    from huggingface_hub import DatasetCard

    if not (folder / "README.md").exists():
        return ["*"]
    listed = DatasetCard.load(folder / "README.md").data.to_dict().get("configs") or []
    names = [entry.get("config_name", "default") for entry in listed]
    if listed and (hub.name or "default") not in names:
        if len(listed) > 1 or hub.name is not None:
            raise UserError(
                f"{hub.dataset} has no configuration {hub.name!r}; it has {', '.join(names)}"
            )
        names = [(hub.name or "default")]
    for name, entry in zip(names, listed):
        if name == (hub.name or "default") and "data_files" in entry:
            return _paths(entry["data_files"])
    return ["*"]


def _paths(data_files: DataFiles) -> list[str]:
    """All paths and patterns in a card's `data_files`: a string, a list or a dictionary of them."""
    if isinstance(data_files, str):
        return [data_files]
    if isinstance(data_files, dict):
        data_files = [data_files["path"]] if "path" in data_files else list(data_files.values())
    return [path for part in data_files for path in _paths(part)]


def _named_labels(rows: "Dataset") -> "Dataset":
    """Replace the numbers of class labels by their names; a missing label becomes "-1"."""
    from datasets import ClassLabel, Value

    for column, feature in list(rows.features.items()):
        if isinstance(feature, ClassLabel):
            numbers = rows.data.column(column).to_pylist()
            names = [feature.int2str(n) if n is not None and n >= 0 else "-1" for n in numbers]
            rows = rows.remove_columns(column).add_column(column, names, feature=Value("string"))
    return rows
