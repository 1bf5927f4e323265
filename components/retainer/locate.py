"""Where a checkpoint is: on the hub, in a folder, or inside a saved pipeline."""

from pathlib import Path

from .errors import UserError

CHECKPOINT = "checkpoint"  # the folder that a component writes, in its own


def is_pipeline(path: Path) -> bool:
    """Whether spaCy saved one there."""
    return (path / "config.cfg").is_file() and (path / "meta.json").is_file()


def locate(name: str) -> tuple[str, dict[str, bool]]:
    """A checkpoint's folder or hub id, and how transformers is to look for it.

    name: that, or the folder of a pipeline, which stands for the checkpoint inside.
    """
    path = Path(name)
    if is_pipeline(path):
        path = find_checkpoint(path)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(
                f"A HuggingFace checkpoint was expected in the folder '{name}', but it "
                "has no config.json. Give the folder that `save_pretrained` wrote, or "
                "a pipeline that `spacy train` did."
            )
        return str(path), {"local_files_only": True}
    if path.exists() or name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise UserError(
            f"A checkpoint folder or a hub id was expected, but '{name}' is not a "
            "folder. Check `paths.base`, or the `name` of the model."
        )
    return name, {}


def find_checkpoint(pipeline: Path) -> Path:
    """The folder of the one checkpoint that a saved pipeline has."""
    found = sorted(file.parent for file in pipeline.glob(f"*/{CHECKPOINT}/config.json"))
    if not found:
        raise UserError(
            "A pipeline with a component `transformer_ner` was expected at "
            f"'{pipeline}', but no component has a folder `{CHECKPOINT}`. Give one "
            "that retainer trained."
        )
    if len(found) > 1:
        raise UserError(
            f"A pipeline with one checkpoint was expected at '{pipeline}', but it has "
            f"{len(found)}. Name one of them: {', '.join(map(str, found))}."
        )
    return found[0]
