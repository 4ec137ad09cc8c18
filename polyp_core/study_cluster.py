"""The members of a study as tasks of a Ray cluster, which decides what is trained where.

A task runs the same worker process as everywhere else. The study's folder and the images must lie
on a disk that all computers see at the same path; files are what the members and the study share.
"""

import getpass
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from polyp_core.environment import check_unchanged
from polyp_core.errors import RunError
from polyp_core.runs import FINAL_STATES, Run
from polyp_core.study import Member, Study
from polyp_core.study_jobs import check_ray

_PACKAGE_DIR = Path(__file__).parent


def connect(study: Study) -> Callable[[Member], Callable[[], str | None]]:
    """Join the cluster that study.json names.

    Returns:
        What starts a member, as `study_worker.run_members` wants it.

    Raises:
        RunError: If Ray is not installed, or no cluster answers.
    """
    plan = study.read_plan()
    check_ray(plan["ray_address"])
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    # Ray would try twenty times, 40 s each.
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
    import ray

    try:
        # Ray carries our code to the other computers; they need the packages alone.
        ray.init(plan["ray_address"], runtime_env={"py_modules": [str(_PACKAGE_DIR)]})
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise RunError(
            f"No Ray cluster can be used at '{plan['ray_address']}' ({error}). Expected the "
            "address of a running one, such as 'auto' on one of its computers or "
            "'ray://HOST:10001'. Start one with `ray start --head`, or train on this computer "
            "(--local)."
        ) from error
    resources = {"num_cpus": plan["cpus_per_member"], "num_gpus": plan["gpus_per_member"]}
    # A lost computer is a problem of the member, which Resume goes on with.
    task = ray.remote(run_on_node).options(**resources, max_retries=0)
    index = study.read_index()
    image_path = str(index.folder / index.images["path"].iloc[0])

    def start(member: Member) -> Callable[[], str | None]:
        if member.run.is_alive():  # its worker has outlived the last study worker
            return lambda: "" if member.read_state() in FINAL_STATES else None
        reference = task.remote(
            str(study.directory), str(member.run.directory), image_path,
            plan["cpus_per_member"], plan["accept_changes"],
        )  # fmt: skip

        def ask() -> str | None:
            if not ray.wait([reference], timeout=0)[0]:
                return None
            try:
                return str(ray.get(reference))
            except ray.exceptions.RayError as error:
                first_sentence = str(error).split("\n")[0].split(". ")[0].rstrip(".")
                return f"Its task was lost: {first_sentence}."

        return ask

    return start


def run_on_node(
    study_dir: str, run_dir: str, image_path: str, num_cpus: float, accept_changes: bool
) -> str:
    """Train one member on the computer that Ray has chosen; what went wrong outside of the run.

    Args:
        study_dir: Of the study.
        run_dir: Of the member.
        image_path: One of the images, to see whether they are there.
        num_cpus: Which the task may use.
        accept_changes: Also where other versions than at the start would compute the rest.
    """
    host = socket.gethostname()
    for what, path in (("study", Path(run_dir, "config.json")), ("images", Path(image_path))):
        if not path.is_file():
            return (
                f"The computer '{host}' does not see '{path}' of the {what}. Expected a disk that "
                "all computers of the cluster see at the same path. Put the images and the study "
                "(--studies) on one, or train on this computer (--local)."
            )
    if Path(study_dir, "stop").exists():
        return ""
    if not accept_changes:
        try:
            check_unchanged(Run(Path(run_dir)))
        except RunError as error:
            return str(error)
    for left_over in ("stop", "status.json"):
        Path(run_dir, left_over).unlink(missing_ok=True)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(_PACKAGE_DIR.parent), *filter(None, sys.path)]),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_NUM_INTRAOP_THREADS": str(max(1, int(num_cpus))),
        "PYTHONUNBUFFERED": "1",
        "POLYP_SLOTS": "0",  # Ray has its own queue
        "POLYP_WORKSPACE": str(Path(tempfile.gettempdir()) / f"polyp-{getpass.getuser()}"),
    }
    with Path(run_dir, "worker.log").open("ab") as log:
        log.write(f"--- on {host}\n".encode())
        log.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", "polyp_core.worker", run_dir],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
        try:
            process.wait()
        finally:
            process.terminate()  # a cancelled task stops its member politely
    if process.returncode and not Path(run_dir, "status.json").is_file():
        return (
            f"The worker on '{host}' ended with code {process.returncode} without a word. Expected "
            "the packages of requirements-cluster.txt there. See worker.log of the run."
        )
    return ""
