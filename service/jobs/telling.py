"""What callers are told of a job."""

from __future__ import annotations

from collections.abc import Mapping

from service.jobs.record import Job, State

#: Why the stream of a job's results ends without all of them, as the codes of its last line.
ENDED: Mapping[State, tuple[str, str]] = {
    State.FAILED: ("job_failed", "the job failed"),
    State.CANCELLED: ("job_cancelled", "the job was cancelled; these are the results that it had"),
}


def told(job: Job) -> dict[str, object]:
    """A job's JSON. What it was not given, and what it has not come to yet, is left out or null."""
    made: dict[str, object] = {"id": job.id, "model": job.model}
    if job.version is not None:
        made["version"] = job.version
    if job.label is not None:
        made["label"] = job.label
    made |= {"state": job.state.value, "rows": job.rows, "done": job.done, "failed": job.failed}
    made |= {"created": job.created, "finished": job.finished}
    if job.error is not None:
        made["error"] = job.error
    if job.callback is not None:
        made["callback"] = job.callback
    return made


def last_line(job: Job) -> dict[str, object] | None:
    """What follows the last result of a job that is over and did not succeed; it has no ``row``."""
    if job.state not in ENDED:
        return None
    code, sentence = ENDED[job.state]
    return {"error": job.error or sentence, "code": code}
