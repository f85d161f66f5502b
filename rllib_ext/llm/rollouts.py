"""The pool of rollout workers: who is asked what, who died, what is asked again, and when to stop waiting.

Every request is delivered exactly once: answers are kept by ticket, a lost worker's requests go back to the
front of the queue with the same seed and the same weights (so that the answer is the one the dead worker
would have given), and a second answer to a ticket is ignored. Waiting is bounded: a worker that exceeds its
time is killed and replaced, one that dies more often than its budget is given up, and when nobody has been
alive for ``stall_timeout_s`` the run ends with Stalled, which names everybody and what is known of them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import ray

from rllib_ext.errors import RllibExtError, Stalled
from rllib_ext.llm.engine import EngineDead
from rllib_ext.llm.requests import Rollout, Ticket
from rllib_ext.llm.weights import PublishedWeights
from rllib_ext.llm.workers import Request, Worker

_QUEUED_PER_WORKER = 2  # one being played, one waiting, so that a worker never idles between rounds
_ATTEMPTS = 5


@dataclass(frozen=True)
class Limits:
    """Seconds, and restarts an hour; the knobs of the same names explain them."""

    engine_start_timeout_s: float
    worker_timeout_s: float
    stall_timeout_s: float
    worker_restart_budget: int


class RolloutPool:
    """handles: worker number -> actor handle of a VLLMEnvRunner. report(event, detail) is told of every
    fault.
    """

    def __init__(
        self,
        handles: dict[int, Any],
        limits: Limits,
        report: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = [Worker(number, handle, clock) for number, handle in sorted(handles.items())]
        self._limits = limits
        self._report = report
        self._clock = clock
        self._queue: deque[Request] = deque()
        self._answers: dict[tuple[str, int, int], Rollout] = {}
        self._delivered: set[tuple[str, int, int]] = set()
        self.restarts = 0
        self.requeued_prompts = 0

    @property
    def size(self) -> int:
        """Workers that were not given up."""
        return sum(worker.state != "gone" for worker in self._workers)

    def submit(self, tickets: Iterable[Ticket], weights: PublishedWeights) -> None:
        """Queue tickets, to be played with exactly these weights, in order."""
        self._queue.extend(Request(ticket, weights) for ticket in tickets)
        self._dispatch()

    def collect(self, tickets: Iterable[Ticket]) -> list[Rollout]:
        """Wait until all of these tickets are answered; answers in their order. Raises Stalled and what
        workers raise.
        """
        keys = [ticket.key for ticket in tickets]
        while not all(key in self._answers for key in keys):
            self._wait_once()
        self._delivered.update(keys)
        return [self._answers.pop(key) for key in keys]

    def forget(self) -> None:
        """Drop everything that is queued, under way or unclaimed (after a restore: it belongs to another
        past).
        """
        self._queue.clear()
        self._answers.clear()
        for worker in self._workers:
            worker.requests.clear()
        self._delivered.clear()

    def stop(self) -> None:
        """End every worker; whatever is under way is dropped."""
        alive = [worker.handle for worker in self._workers if worker.state != "gone"]
        if alive:
            ray.wait([handle.stop.remote() for handle in alive], num_returns=len(alive), timeout=5.0)
        for handle in alive:
            ray.kill(handle, no_restart=True)

    # ----- one turn of the loop

    def _wait_once(self) -> None:
        self._dispatch()
        owners = {ref: worker for worker in self._workers for ref in worker.requests}
        if owners:
            ready, _ = ray.wait(list(owners), num_returns=1, timeout=0.5)
            for ref in ready:
                self._receive(ref, owners[ref])
        else:
            time.sleep(0.1)
        self._supervise()

    def _dispatch(self) -> None:
        for depth in range(1, _QUEUED_PER_WORKER + 1):
            for worker in self._workers:
                if self._queue and worker.state == "serving" and len(worker.requests) < depth:
                    worker.ask(self._queue.popleft())

    def _receive(self, ref: Any, worker: Worker) -> None:
        try:
            rollout = ray.get(ref, timeout=self._limits.worker_timeout_s)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, RllibExtError) and not isinstance(cause, EngineDead):
                raise cause from error
            self._lose(worker, f"{type(cause).__name__}: {cause}", kill=True)
        except (
            ray.exceptions.RayActorError,
            ray.exceptions.ObjectLostError,
            ray.exceptions.GetTimeoutError,
        ) as error:
            self._lose(worker, str(error).splitlines()[0], kill=False)
        else:
            self._accept(worker.answered(ref), worker, rollout)

    def _accept(self, request: Request, worker: Worker, rollout: Rollout) -> None:
        worker.started = True
        key = request.ticket.key
        if key in self._answers or key in self._delivered:
            return
        if rollout.version != request.weights.version or rollout.digest != request.weights.digest:
            self._report(
                "weight_digest_mismatch",
                f"worker {worker.number} served version {rollout.version} ({rollout.digest}) instead of "
                f"{request.weights.version} ({request.weights.digest}); its prompts are asked again",
            )
            self._requeue([request], "served other weights than asked for")
            return
        self._answers[key] = rollout

    # ----- faults

    def _lose(self, worker: Worker, why: str, *, kill: bool) -> None:
        if kill:
            ray.kill(worker.handle, no_restart=False)
        orphans = worker.lose(why)
        self.restarts += 1
        self._report("worker_died", f"worker {worker.number}: {why}")
        self._requeue(orphans, why)
        if worker.restarts_this_hour > self._limits.worker_restart_budget:
            self._give_up(worker, f"{worker.restarts_this_hour} failures within an hour; last: {why}")

    def _requeue(self, requests: list[Request], why: str) -> None:
        for request in reversed(requests):
            ticket = request.ticket
            if ticket.attempt + 1 >= _ATTEMPTS:
                raise RllibExtError(
                    f"prompts {[index for _, index in ticket.prompts][:8]}... of round {ticket.round} failed {_ATTEMPTS} "
                    f"times, last because a worker {why}; look at these prompts, or at the workers' memory"
                )
            again = Ticket(**{**vars(ticket), "attempt": ticket.attempt + 1})
            self._queue.appendleft(Request(again, request.weights))
            self.requeued_prompts += len(ticket.prompts)
        if requests:
            count = sum(len(request.ticket.prompts) for request in requests)
            self._report(
                "prompts_requeued", f"{count} prompts of {len(requests)} requests go to other workers"
            )

    def _give_up(self, worker: Worker, why: str) -> None:
        worker.state = "gone"
        ray.kill(worker.handle, no_restart=True)
        self._report("worker_given_up", f"worker {worker.number}: {why}")

    def _supervise(self) -> None:
        for worker in self._workers:
            if worker.state == "serving" and worker.overdue(
                self._limits.engine_start_timeout_s, self._limits.worker_timeout_s
            ):
                self._lose(worker, f"no answer within {self._limits.worker_timeout_s:g} s", kill=True)
            elif worker.state == "returning":
                self._try_to_return(worker)
        alive = [worker for worker in self._workers if worker.state == "serving"]
        if alive:
            return
        since = max(worker.lost_at for worker in self._workers)
        if self.size == 0 or self._clock() - since > self._limits.stall_timeout_s:
            states = "; ".join(
                f"worker {w.number} {w.state} after {w.restarts_this_hour} failures within an hour, last: {w.last_error[-300:]}"
                for w in self._workers
            )
            raise Stalled(
                f"no rollout worker is alive ({states}). events.jsonl has every failure; rllib-ext resume continues "
                "from the last checkpoint"
            )

    def _try_to_return(self, worker: Worker) -> None:
        try:
            if worker.is_back():
                self._report("worker_replaced", f"worker {worker.number} is back")
                self._dispatch()
        except ray.exceptions.RayActorError as error:
            self._give_up(worker, f"its actor does not come back: {str(error).splitlines()[0]}")


def creation_error(group: Any) -> RllibExtError:
    """Why the workers of an EnvRunnerGroup could not be made: the error of the first one that tells."""
    for number, handle in sorted(group._worker_manager.actors().items()):
        try:
            ray.get(handle.ping.remote(), timeout=60.0)
        except ray.exceptions.ActorDiedError as error:
            cause = getattr(error.args[0], "cause", None) if error.args else None
            if isinstance(cause, RllibExtError):
                return cause
            return Stalled(f"rollout worker {number} could not be made: {error}")
        except ray.exceptions.RayError as error:
            return Stalled(f"rollout worker {number} does not answer: {error}")
    return Stalled("no rollout worker could be made; the cluster may lack the resources that they ask for")
