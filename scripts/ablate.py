"""Train and score every arm of a plan on every task, several times; compare them."""

import signal
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

from tqdm import tqdm
from typer import Argument, Option
from wasabi import msg

from retainer.ablation.grid import Outcome, train_runs
from retainer.ablation.outputs import can_plot, write_outputs
from retainer.ablation.plan import Run, read_plan
from retainer.ablation.store import Store
from retainer.cli import run
from retainer.errors import UserError


def main(
    plan: Annotated[Path, Argument(help="YAML, as configs/ablation.yml")],
    teacher: Annotated[str, Option(help="Checkpoint: a folder or a hub id")],
    data: Annotated[Path, Option(help="Folder that the plan's files are in")],
    output: Annotated[Path, Option(help="Folder to write, or to go on with")],
    jobs: Annotated[int, Option(min=1, help="Trainings at a time")] = 1,
    task: Annotated[list[str] | None, Option(help="Only this task")] = None,
    arm: Annotated[list[str] | None, Option(help="Only this arm")] = None,
    keep: Annotated[
        bool, Option("--keep", help="Keep the trained pipelines of these runs")
    ] = False,
) -> None:
    """Write OUTPUT/results.csv, summary.md and pareto.png, anew after each run.

    A run that is done is not done again, unless its part of the plan, its files, the
    config or the teacher changed; code is not looked at.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    read = read_plan(plan)
    wanted = read.runs(task or (), arm or ())
    if not wanted:
        raise UserError(
            "Runs were expected of the tasks and arms that are asked for, but the plan "
            "has none of these arms on these tasks. Correct --task or --arm."
        )
    store = Store(read, teacher, data, output)
    done = store.results()
    todo = [one for one in wanted if one not in done]
    if not can_plot():
        msg.info("No pareto.png: it needs `pip install retainer[plots]`")
    failures = follow(store, todo, len(wanted), jobs, keep)
    print(write_outputs(store), end="")
    if failures:
        listed = [f"{one.run.name}: {one.reason}" for one in failures]
        raise UserError(
            f"Runs that end well were expected, but {len(failures)} of {len(todo)} "
            "failed, and will be tried again next time. The ends of their logs:\n"
            + "\n".join(listed)
        )


def follow(
    store: Store, todo: Sequence[Run], n_wanted: int, jobs: int, keep: bool
) -> list[Outcome]:
    """Do the runs, show how far they are, and write what there is after each.

    RETURNS: those that failed.
    """
    failures, running = [], [one.name for one in todo]
    n_done = n_wanted - len(todo)
    with (
        tqdm(total=n_wanted, initial=n_done, unit="run", disable=None) as bar,
        closing(train_runs(store, todo, jobs, keep)) as outcomes,
    ):
        bar.set_postfix_str(", ".join(running[:jobs]))
        for outcome in outcomes:
            bar.write(line_of(outcome))
            if outcome.result is None:
                failures.append(outcome)
            write_outputs(store)
            running.remove(outcome.run.name)
            bar.set_postfix_str(", ".join(running[:jobs]))
            bar.update()
    return failures


def line_of(outcome: Outcome) -> str:
    """Example: "contact/plain/0: new F1 30.9, old F1 lost 8.6, 123 s" """
    name, result = outcome.run.name, outcome.result
    if result is None:
        return f"{name}: failed"
    new, lost = result["new"]["f1"], result["old"]["lost_mean"]
    return f"{name}: new F1 {new}, old F1 lost {lost}, {result['seconds']:.0f} s"


if __name__ == "__main__":
    run(main)
