"""Every family of metrics: its name, what it says, its labels and buckets. Names and units are Prometheus's conventions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]

#: Upper bounds of the buckets of durations (seconds): 100 us to 10 s.
SECONDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: Of a batch's rows: powers of two.
ROWS: Final = tuple([float(1 << power) for power in range(13)])


@dataclass(frozen=True, slots=True)
class Family:
    """One family. A counter's name is without its ``_total``. ``least``: of several workers' values the smallest is the server's,
    not their sum."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    least: bool = False

    @property
    def width(self) -> int:
        """The cells of one series: one for each bucket, that of +Inf among them, and the sum; else one."""
        return len(self.bounds) + 2 if self.bounds else 1

    @property
    def exposed(self) -> str:
        """The name under which it is scraped."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


_VERSION = ("model", "version")
_WORKER = ("worker",)
#: Each worker tunes its own batches: neither a sum nor the least of them says anything.
_TUNED = (*_VERSION, *_WORKER)

REQUESTS = Family(
    "tureen_requests", "counter", "Inference requests that ended, by HTTP status; 499: the client left.", (*_VERSION, "code")
)
DURATION = Family(
    "tureen_request_duration_seconds",
    "histogram",
    "From an inference request's last byte to its response, by class of HTTP status; 2xx: answered.",
    (*_VERSION, "class"),
    SECONDS,
)
QUEUE = Family(
    "tureen_queue_duration_seconds", "histogram", "What an answered inference request waited for its batch.", _VERSION, SECONDS
)
INFER = Family(
    "tureen_infer_duration_seconds", "histogram", "The model's call that an answered inference request was in.", _VERSION, SECONDS
)
BATCH_ROWS = Family(
    "tureen_batch_rows", "histogram", "Rows of the batch that an answered inference request was in.", _VERSION, ROWS
)
ROWS_ANSWERED = Family("tureen_rows", "counter", "Rows of answered inference requests.", _VERSION)
HTTP_REQUESTS = Family(
    "tureen_http_requests", "counter", "All other requests that ended, by route and HTTP status.", ("route", "method", "code")
)
HTTP_DURATION = Family(
    "tureen_http_request_duration_seconds", "histogram", "How long all other requests took.", ("route",), SECONDS
)
LIMITED = Family(
    "tureen_limited", "counter", "Requests and connections that went over a limit, by its key in [limits].", ("limit",)
)

BATCHES = Family("tureen_batches", "counter", "Calls of the model, by why their batch closed.", (*_VERSION, "reason"))
REFUSED = Family("tureen_refused", "counter", "Entries refused at the batcher's door.", _VERSION)
PAST_TARGET = Family(
    "tureen_past_target", "counter", "Entries among those refused that would have been answered later than target_p99_ms.", _VERSION
)
EXPIRED = Family("tureen_expired", "counter", "Entries whose deadline passed in the queue or in the call.", _VERSION)
CANCELLED = Family("tureen_cancelled", "counter", "Entries whose client left before their answer.", _VERSION)
DEFECTS = Family("tureen_batcher_defects", "counter", "Times that the batcher failed and started again.", _VERSION)
QUEUED = Family("tureen_queued_rows", "gauge", "Rows that wait for a slot now.", _VERSION)
QUEUE_LIMIT = Family("tureen_queue_limit_rows", "gauge", "Rows that may wait for a slot.", _VERSION)
SLOTS_USED = Family("tureen_slots_in_use", "gauge", "Calls of the model in flight now.", _VERSION)
SLOTS = Family("tureen_slots", "gauge", "Calls of the model that may be in flight.", _VERSION)
TARGET = Family("tureen_latency_target_seconds", "gauge", "The model's target_p99_ms, where it has one.", _TUNED)
MEASURED = Family(
    "tureen_latency_accepted_seconds",
    "gauge",
    "Of a model with a target: from queued to answered, the last seconds' p99.",
    _TUNED,
)
CAP = Family("tureen_call_limit_rows", "gauge", "Of a model with a target: rows of a call, at most, now.", _TUNED)
WAIT = Family("tureen_window_limit_seconds", "gauge", "Of a model with a target: how long a window may wait now.", _TUNED)
MEMORY = Family(
    "tureen_model_memory_bytes", "gauge", "What the processes' resident memory grew by while the version loaded.", _VERSION
)
READY = Family("tureen_model_ready", "gauge", "1 where every serving worker answers for the version, else 0.", _VERSION, least=True)

LAG = Family("tureen_event_loop_lag_seconds", "gauge", "How late the event loop was when last looked at.", _WORKER)
LAG_MAX = Family("tureen_event_loop_lag_max_seconds", "gauge", "The latest that it was in the last ten seconds.", _WORKER)
RESIDENT = Family("tureen_process_resident_memory_bytes", "gauge", "Resident memory of the worker.", _WORKER)
CPU = Family("tureen_process_cpu_seconds", "counter", "User and system time of the workers of a line.", _WORKER)
THREADS = Family("tureen_process_threads", "gauge", "Threads of the worker.", _WORKER)
LOG_LINES = Family("tureen_log_lines", "counter", "Lines written to the log.")
LOG_LEFT_OUT = Family(
    "tureen_log_left_out_lines",
    "counter",
    "Requests without a line, as more came than [log] most_per_s, or than are told of refusals.",
)
LOG_DROPPED = Family("tureen_log_dropped_lines", "counter", "Lines of the log that were lost rather than waited for.")

STOOD_IN = Family(
    "tureen_budgets_stood_in", "counter", "Spendings that a machine's own memory had to decide, as Redis did not answer."
)

CACHE = Family(
    "tureen_cache_lookups",
    "counter",
    "Requests of models with a cache, by how they came by their answer: hit, miss, joined another's, or found it damaged.",
    (*_VERSION, "result"),
)
CACHE_COSTLY = Family("tureen_cache_costly", "gauge", "1 where a model's cache last took more time than it saved.", _VERSION)
CACHE_VALUES = Family("tureen_cache_values", "gauge", "Answers kept in the worker's memory.", _WORKER)
CACHE_BYTES = Family("tureen_cache_bytes", "gauge", "What they take, with all that belongs to them.", _WORKER)
CACHE_EVICTED = Family("tureen_cache_evicted", "counter", "Answers that others drove out of memory before their time.")
CACHE_UNANSWERED = Family("tureen_cache_unanswered", "counter", "Lookups that Redis did not answer in time, and were computed.")

JOBS = Family("tureen_jobs", "gauge", "Asynchronous jobs that are kept, of all workers, by state.", ("state",), least=True)
JOB_ROWS = Family(
    "tureen_job_rows", "counter", "Results of jobs that were written, by whether they are predictions or errors.", ("result",)
)

#: What workers count in cells, by name.
COUNTED: Final = {
    family.name: family
    for family in (
        REQUESTS,
        DURATION,
        QUEUE,
        INFER,
        BATCH_ROWS,
        ROWS_ANSWERED,
        HTTP_REQUESTS,
        HTTP_DURATION,
        LIMITED,
        STOOD_IN,
        BATCHES,
        REFUSED,
        PAST_TARGET,
        EXPIRED,
        CANCELLED,
        DEFECTS,
        QUEUED,
        QUEUE_LIMIT,
        SLOTS_USED,
        SLOTS,
        TARGET,
        MEASURED,
        CAP,
        WAIT,
        MEMORY,
        READY,
        LAG,
        LAG_MAX,
        RESIDENT,
        CPU,
        THREADS,
        LOG_LINES,
        LOG_DROPPED,
        LOG_LEFT_OUT,
        CACHE,
        CACHE_COSTLY,
        CACHE_VALUES,
        CACHE_BYTES,
        CACHE_EVICTED,
        CACHE_UNANSWERED,
        JOBS,
        JOB_ROWS,
    )
}

WORKERS = Family("tureen_workers", "gauge", "Workers by where they are in their life.", ("phase",))
WORKERS_READY = Family("tureen_workers_ready", "gauge", "Serving workers that have loaded all that they should.")
STARTS = Family("tureen_worker_starts", "counter", "Workers started, the first of each line included.", _WORKER)
CONNECTIONS = Family("tureen_connections", "gauge", "Open connections.", _WORKER)
SILENCE = Family("tureen_worker_silence_seconds", "gauge", "Since the worker's event loop was last seen to turn.", _WORKER)
DROPPED_SERIES = Family("tureen_metrics_dropped_series", "counter", "Series that found no room and are not counted.")
BUILD = Family("tureen_build_info", "gauge", "1; its labels say what runs.", ("version", "python", "server"))

#: What the worker that is asked reads off the board, and knows of itself.
READ: Final = {family.name: family for family in (WORKERS, WORKERS_READY, STARTS, CONNECTIONS, SILENCE, DROPPED_SERIES, BUILD)}
