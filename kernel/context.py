"""What a component may know and keep while it is called: typed keys, the abort signal, the context.

One context is made for each call into job code. Three places to keep values, by how long they live:
`ctx.local` dies with the call, `ctx.shared` travels with the task and its result, `ctx.state` is the
site's own Shareable and survives to its next task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

import numpy as np

from .errors import JobError, SpecError

if TYPE_CHECKING:
    from .shareable import Shareable

T = TypeVar("T")


class RunAborted(JobError):
    """The run was aborted.

    Cause: somebody gave `abort_job`, or another part of the job failed.

    Cure: nothing to mend here; `get_job_report` names the first cause.
    """

    code = "SD-4001"


class Panic(JobError):
    """A component ended the job.

    Cause: `ctx.panic(reason)` was called: the component found that going on makes no sense.

    Cure: the reason is the component's own text; mend what it names and submit the job again.
    """

    code = "SD-4002"


class KeyTypeError(SpecError):
    """A context key was given a value of another type than it declares.

    Cause: a mistake in the component that set it.

    Cure: set a value of the type named in Key(name, type).
    """

    code = "SD-1151"


@dataclass(frozen=True)
class Key(Generic[T]):
    """The name of a value and its type, declared once and used for both setting and getting."""

    name: str
    type: type[T]


class Values:
    """Values by typed key. Shared ones must be JSON-like: None, bool, int, float, str, list or dict."""

    def __init__(self, values: dict[str, Any] | None = None) -> None:
        self.as_dict: dict[str, Any] = dict(values or {})

    def __getitem__(self, key: Key[T]) -> T:
        return cast("T", self.as_dict[key.name])

    def __setitem__(self, key: Key[T], value: T) -> None:
        if not isinstance(value, key.type):
            raise KeyTypeError(f"wanted {key.type.__name__}, got {type(value).__name__} {value!r}", where=f"key {key.name!r}")
        self.as_dict[key.name] = value

    def __contains__(self, key: Key[Any]) -> bool:
        return key.name in self.as_dict

    def get(self, key: Key[T], default: T | None = None) -> T | None:
        """The value, or the default when it was never set."""
        return cast("T | None", self.as_dict.get(key.name, default))


class Abort:
    """Whether the run, or the task in hand, is to stop. Truthy once it is; set from another thread."""

    def __init__(self) -> None:
        self.reason = ""

    def __bool__(self) -> bool:
        return bool(self.reason)

    def set(self, reason: str) -> None:
        """Ask for the end. The first reason stays."""
        self.reason = self.reason or reason or "aborted"

    def check(self) -> None:
        """Go on, or leave: call it between batches.

        Raises:
            RunAborted: the end was asked for.
        """
        if self.reason:
            raise RunAborted(self.reason)


class Metrics(Protocol):
    """Where job code writes its metrics; they reach the server's trackers."""

    def add_scalar(self, tag: str, value: float, step: int | None = None) -> None:
        """One number."""

    def add_scalars(self, tag: str, values: dict[str, float], step: int | None = None) -> None:
        """Several numbers of one chart."""

    def add_text(self, tag: str, text: str, step: int | None = None) -> None:
        """A text."""


class _NoMetrics:
    """Outside of a run metrics go nowhere."""

    def add_scalar(self, tag: str, value: float, step: int | None = None) -> None: ...
    def add_scalars(self, tag: str, values: dict[str, float], step: int | None = None) -> None: ...
    def add_text(self, tag: str, text: str, step: int | None = None) -> None: ...


@dataclass
class Context:
    """What one call into job code knows of the run, and where it may leave values."""

    run_id: str = ""
    site: str = ""
    """The participant this code runs at; "server" on the server's side."""
    workflow: str = ""
    step: int = -1
    task: str = ""
    seed: int = 0
    folder: Path = field(default_factory=Path.cwd)
    """The run's folder at this participant: models/, tb_events/, cross_site_val/ … are made in it."""
    abort: Abort = field(default_factory=Abort)
    shared: Values = field(default_factory=Values)
    local: Values = field(default_factory=Values)
    state: Shareable | None = None
    metrics: Metrics = field(default_factory=_NoMetrics)
    notify: Callable[..., None] = field(default=lambda _hook, /, **_arguments: None)
    """Tell the run's observers: the hook's name, and its arguments by name; does nothing outside of a run."""
    components: dict[str, Any] = field(default_factory=dict)
    """The job's component instances by id."""
    checkpoint: Callable[[Shareable], None] = field(default=lambda _state: None)
    """Keep a state now: if this process dies, the task starts again with it in `ctx.state`."""
    _rng: np.random.Generator | None = None
    _rng_seed: int | None = None

    @property
    def rng(self) -> np.random.Generator:
        """A generator of this call's own, from the job's seed, the place and the step."""
        if self._rng is None:
            self._rng = np.random.default_rng(self.seed if self._rng_seed is None else self._rng_seed)
        return self._rng

    def seed_rng(self, seed: int) -> None:
        """Begin a new sequence of `rng`; the runtime does it at each step."""
        self._rng, self._rng_seed = None, seed  # the generator is made when it is asked for: it costs as much as a small task

    def panic(self, reason: str) -> None:
        """End the whole job with this reason, whatever its policy says.

        Raises:
            Panic: always.
        """
        raise Panic(reason)


_current: ContextVar[Context | None] = ContextVar("sundog_context", default=None)


def current_context() -> Context:
    """The context of the call that is under way; an empty one outside of a run."""
    return _current.get() or Context()


@contextmanager
def entered(context: Context) -> Iterator[Context]:
    """Make a context the current one for a block."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from the job's seed and the names of a place: the same names give the same seed everywhere."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
