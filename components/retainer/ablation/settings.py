"""The config of a run: the plan's settings put into a config that has them all."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from spacy import registry
from spacy.util import load_config
from thinc.api import Config, ConfigValidationError

from ..decoding import Decoder
from ..errors import UserError
from .plan import Plan, Run, Settings

DATA = "{data}"  # in a string of the settings
# What the run itself sets, and no setting can.
OWN = ("system.seed", "paths.train", "paths.dev", "paths.base")


def read_config(path: str) -> Config:
    try:
        return load_config(path, interpolate=False)
    except OSError as error:
        reason = "nothing is there"
        raise _no_config(path, reason) from error
    except (ConfigValidationError, ValueError) as error:
        raise _no_config(path, str(error)) from error


def _no_config(path: str, reason: str) -> UserError:
    return UserError(
        f"A config of spaCy was expected at '{path}', which the plan names, but "
        f"{reason}. Correct `config`; it is sought from the current folder."
    )


def configure_plan(plan: Plan) -> Config:
    """The config with the settings of the plan.

    {data} and the paths are as they were.
    """
    config = read_config(plan.config)
    _put_all(config, plan.settings, "settings")
    return config


def configure(plan: Plan, run: Run) -> Config:
    """The same with the settings of the arm, and the seed."""
    config = configure_plan(plan)
    _put_all(config, plan.arms[run.arm].settings, f"arms.{run.arm}.settings")
    put(config, "system.seed", run.seed, "the ablation")
    return config


def _put_all(config: Config, settings: Settings, where: str) -> None:
    for key, value in settings.items():
        if key in OWN:
            raise UserError(
                f"Settings other than {', '.join(OWN)} were expected in {where}, "
                f"but there is '{key}', which each run sets. Take it out."
            )
        put(config, key, deepcopy(value), where)


def put(config: Config, key: str, value: Any, where: str) -> None:
    """Set what is there. Example: "training.batcher.size", 16

    where: what the error names.
    """
    *above, last = key.split(".")
    section: Any = config
    for i, name in enumerate([*above, last]):
        if not isinstance(section, dict) or name not in section:
            parent = ".".join(key.split(".")[:i])
            place = f"the section [{parent}]" if parent else "the config"
            listed = ", ".join(section) if isinstance(section, dict) else "no section"
            raise UserError(
                f"Settings that the config has were expected in {where}, but it has "
                f"no '{key}': {place} has {listed or 'nothing'}. Correct the key, or "
                "give the whole section as a mapping."
            )
        if i < len(above):
            section = section[name]
    section[last] = value


def resolve_decoder(config: Config) -> Decoder:
    """How the pipelines that are trained by it decode, and so their teacher is to."""
    decoder = config["components"]["transformer_ner"]["decoder"]
    return registry.resolve({"decoder": decoder})["decoder"]


def fill_in(config: Config, data: Path) -> Config:
    """The folder of the data in the place of {data}."""
    return Config(_replaced(dict(config), str(data)))


def _replaced(value: Any, data: str) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(x, data) for key, x in value.items()}
    if isinstance(value, list):
        return [_replaced(x, data) for x in value]
    return value.replace(DATA, data) if isinstance(value, str) else value


def data_files(settings: Settings, data: Path) -> list[Path]:
    """The files that settings name with {data}."""
    return [Path(text.replace(DATA, str(data))) for text in _strings(settings)]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for x in value:
            yield from _strings(x)
    elif isinstance(value, str) and DATA in value:
        yield value
