"""The plan of an ablation, a YAML file: which arms are trained on which tasks."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import srsly
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from ..errors import UserError

# They name folders, columns and cells of tables.
Name = Annotated[str, StringConstraints(pattern=r"^[\w+][\w+.-]*$")]
Settings = dict[str, Any]
Files = Annotated[
    list[str],
    BeforeValidator(lambda x: [x] if isinstance(x, str) else x),
    Field(min_length=1),
]
Number = Annotated[int, Field(ge=1)]
Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Old(Part):
    """Files annotated with the teacher's types: where forgetting is measured.

    limit: the first sentences of each file are scored, the others can be trained on.
    min_entities: so many gold entities a file needs for its loss to be the worst.
    """

    files: Files
    limit: Number = 250
    min_entities: Number = 100


class Task(Part):
    """Files to learn from and files to be scored on.

    dev: without it, every tenth sentence of `train` is held out.
    test: by the name that a row of the tables has.
    limit, dev_limit, test_limit: sentences, taken evenly from all; None takes all.
    script: of train and dev, only sentences most of whose letters are of it, such as
        "cyrillic", or are not, "not cyrillic". test_scripts: the same, by test.
    """

    train: Files
    dev: Files | None = None
    test: Annotated[dict[Name, Files], Field(min_length=1)]
    limit: Number | None = None
    dev_limit: Number | None = 250
    test_limit: Number | None = 250
    script: str | None = None
    test_scripts: dict[str, str] = {}


class Arm(Part):
    """settings: see `Plan`. tasks, seeds: only these.

    joint: so many sentences of each old file, behind those that are scored, are
        added to `train`.
    """

    settings: Settings = {}
    joint: Annotated[int, Field(ge=0)] = 0
    tasks: list[str] | None = None
    seeds: Seeds | None = None


class Run(Part):
    """One training. Its name is that of its folder."""

    task: str
    arm: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.task}/{self.arm}/{self.seed}"


class Plan(Part):
    """settings: values of the config for all arms, by dotted key.

    A mapping as a value takes the place of a whole section. "{data}" in a string
    becomes the folder of the data.
    """

    config: str
    seeds: Seeds = [0]
    settings: Settings = {}
    old: Old
    tasks: Annotated[dict[Name, Task], Field(min_length=1)]
    arms: Annotated[dict[Name, Arm], Field(min_length=1)]

    def runs(
        self, tasks: Collection[str] = (), arms: Collection[str] = ()
    ) -> list[Run]:
        """All, or those of some tasks and arms: the first seed everywhere first."""
        for kind, names, known in (
            ("task", tasks, self.tasks),
            ("arm", arms, self.arms),
        ):
            for name in names:
                _check_known(name, known, f"--{kind}", f"{kind}s of the plan")
        own = {name: arm.seeds or self.seeds for name, arm in self.arms.items()}
        seeds = dict.fromkeys(
            [*self.seeds, *(x for some in own.values() for x in some)]
        )
        return [
            Run(task=task, arm=name, seed=seed)
            for seed in seeds
            for task in tasks or self.tasks
            for name, arm in self.arms.items()
            if name in (arms or self.arms)
            and seed in own[name]
            and task in (self.tasks if arm.tasks is None else arm.tasks)
        ]


def read_plan(path: Path) -> Plan:
    try:
        values = srsly.read_yaml(path)
    except ValueError as error:
        raise UserError(
            f"A plan of an ablation in YAML was expected at '{path}', but it cannot "
            f"be read. {error}"
        ) from error
    try:
        plan = Plan.model_validate(_without_nulls(values))
    except ValidationError as error:
        faults = [_fault(one) for one in error.errors()]
        raise UserError(
            f"A plan as in configs/ablation.yml was expected in '{path}', but:\n"
            + "\n".join(faults)
        ) from error
    for name, arm in plan.arms.items():
        for task in arm.tasks or ():
            _check_known(task, plan.tasks, f"{path}: arms.{name}.tasks", "tasks")
    for name, task in plan.tasks.items():
        for test in task.test_scripts:
            where = f"{path}: tasks.{name}.test_scripts"
            _check_known(test, task.test, where, "tests of the task")
    return plan


def _without_nulls(values: Any) -> Any:
    """An arm of which nothing is said has the config's own settings."""
    if isinstance(values, dict) and isinstance(values.get("arms"), dict):
        arms = {key: {} if x is None else x for key, x in values["arms"].items()}
        return values | {"arms": arms}
    return values


def _fault(error: Any) -> str:
    """Example: arms.plain.setings: Extra inputs are not permitted (it is {...})"""
    place = ".".join(str(part) for part in error["loc"]) or "the whole"
    if error["type"] == "missing":
        return f"{place}: is missing"
    if error["type"] == "extra_forbidden":
        return f"{place}: there is no such key; known are {_known_keys(error['loc'])}"
    return f"{place}: {error['msg']}, not {str(error['input'])[:60]!r}"


def _known_keys(place: Sequence[Any]) -> str:
    """place: of a key, as pydantic gives it."""
    parts = {"old": Old, "tasks": Task, "arms": Arm}
    kind = Plan if len(place) == 1 else parts[place[0]]
    return ", ".join(kind.model_fields)


def _check_known(name: str, known: Collection[str], where: str, what: str) -> None:
    if name not in known:
        raise UserError(
            f"One of the {what} ({', '.join(known)}) was expected in {where}, but "
            f"there is '{name}'. Correct it."
        )
