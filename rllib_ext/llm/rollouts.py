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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import ray

from rllib_ext.errors import RllibExtError, Stalled
from rllib_ext.llm.engine import EngineDead
from rllib_ext.llm.recruiting import Recruiter
from rllib_ext.llm.requests import Rollout, Ticket
from rllib_ext.llm.weights import PublishedWeights
from rllib_ext.llm.workers import Limits, Request, Worker

_QUEUED_PER_WORKER = 2  # one being played, one waiting, so that a worker never idles between rounds
_ATTEMPTS = 5
_DEFECT = "the ticket {} (split, round, chunk) was {}; this is a defect of the scheduler, please report it"


class RolloutPool:
    """handles: worker number -> actor handle of a VLLMEnvRunner. report(event, detail) hears of faults.

    recruiter: asks for workers beyond these, who join when they are there. reward_workers: actors that score, shared
    out among the workers; none where each worker scores for itself.
    """

    def __init__(
        self,
        handles: dict[int, Any],
        limits: Limits,
        report: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        recruiter: Recruiter | None = None,
        reward_workers: Sequence[Any] = (),
    ) -> None:
        self._workers: list[Worker] = []
        self._recruiter, self._reward_workers = recruiter, list(reward_workers)
        self._take_on([Worker(number, handle, clock) for number, handle in sorted(handles.items())])
        self._limits, self._report, self._clock = limits, report, clock
        self._queue: deque[Request] = deque()
        self._answers: dict[tuple[str, int, int], Rollout] = {}
        self._delivered: set[tuple[str, int, int]] = set()
        self.restarts = 0
        self.requeued_prompts = 0

    @property
    def size(self) -> int:
        """Workers that are there, or were and may come back."""
        return sum(worker.state in ("serving", "returning") for worker in self._workers)

    def submit(self, tickets: Iterable[Ticket], weights: PublishedWeights) -> None:
        """Queue tickets, to be played with exactly these weights, in order."""
        requests = [Request(ticket, weights) for ticket in tickets]
        known = self._under_way() | self._answers.keys() | self._delivered
        for request in requests:
            if request.ticket.key in known:
                raise RllibExtError(_DEFECT.format(request.ticket.key, "submitted twice"))
        self._queue.extend(requests)
        self._dispatch()

    def collect(self, tickets: Iterable[Ticket]) -> list[Rollout]:
        """Wait for the answers to these tickets, in their order. Raises Stalled and what workers raise."""
        keys = [ticket.key for ticket in tickets]
        while missing := {key for key in keys if key not in self._answers}:
            if unasked := missing - self._under_way():
                raise RllibExtError(_DEFECT.format(min(unasked), "never submitted, or delivered before"))
            self._wait_once()
        self._delivered.update(keys)
        return [self._answers.pop(key) for key in keys]

    def _under_way(self) -> set[tuple[str, int, int]]:
        asked = [*self._queue, *(request for worker in self._workers for request in worker.requests.values())]
        return {request.ticket.key for request in asked}

    def forget(self) -> None:
        """Drop all that is queued, under way or unclaimed: after a restore it belongs to another past."""
        self._queue.clear()
        self._answers.clear()
        for worker in self._workers:
            worker.requests.clear()
        self._delivered.clear()

    def stop(self) -> None:
        """End every worker; whatever is under way is dropped."""
        serving = [worker.handle.stop.remote() for worker in self._workers if worker.state == "serving"]
        if serving:
            ray.wait(serving, num_returns=len(serving), timeout=5.0)
        living = [worker.handle for worker in self._workers if worker.state != "gone"]
        for handle in (*living, *self._reward_workers):
            ray.kill(handle, no_restart=True)

    # ----- one turn of the loop

    def _wait_once(self) -> None:
        self._dispatch()
        owners = {ref: worker for worker in self._workers for ref in worker.requests}
        if owners:
            ray.wait(list(owners), num_returns=1, timeout=0.5, fetch_local=False)
            # All that has come, before anybody is called late: the driver may have been away for long.
            ready, _ = ray.wait(list(owners), num_returns=len(owners), timeout=0, fetch_local=False)
            for ref in ready:
                if ref in owners[ref].requests:  # else its worker was lost a moment ago
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
        except ray.exceptions.RayError as error:  # the actor died, or its answer was lost
            self._lose(worker, _first_line(error), kill=False)
        else:
            self._accept(worker.answered(ref), worker, rollout)

    def _accept(self, request: Request, worker: Worker, rollout: Rollout) -> None:
        worker.started, worker.process = True, rollout.process
        key = request.ticket.key
        if key in self._answers or key in self._delivered:
            return
        if rollout.version != request.weights.version or rollout.digest != request.weights.digest:
            self._report(
                "weight_digest_mismatch",
                f"worker {worker.number} served version {rollout.version} ({rollout.digest}) instead of "
                f"{request.weights.version} ({request.weights.digest}); its prompts are asked again",
            )
            self._lose(worker, "it served other weights than asked for", kill=True)
            self._requeue([request], "other weights were served than asked for")
            return
        self._answers[key] = rollout

    # ----- faults

    def _lose(self, worker: Worker, why: str, *, kill: bool) -> None:
        if kill:
            worker.kill()
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
                    f"prompts {[index for _, index in ticket.prompts]} of round {ticket.round} ({ticket.split}) "
                    f"failed {_ATTEMPTS} times, the last time because: {why}. Look at these prompts, at the "
                    "environment and at the workers' memory; events.jsonl has every failure"
                )
            again = replace(ticket, attempt=ticket.attempt + 1)
            self._queue.appendleft(Request(again, request.weights))
            self.requeued_prompts += len(ticket.prompts)
        if requests:
            count = sum(len(request.ticket.prompts) for request in requests)
            self._report("prompts_requeued", f"{count} prompts of {len(requests)} requests are asked again")

    def _give_up(self, worker: Worker, why: str) -> None:
        worker.state, worker.last_error = "gone", why
        ray.kill(worker.handle, no_restart=True)
        self._report("worker_given_up", f"worker {worker.number}: {why}")

    def _take_on(self, workers: Iterable[Worker]) -> None:
        for worker in workers:
            if self._reward_workers:
                worker.reward_worker = self._reward_workers[worker.number % len(self._reward_workers)]
            self._workers.append(worker)

    def _supervise(self) -> None:
        if self._recruiter is not None:
            self._take_on(self._recruiter.recruit(self._workers))
        for worker in self._workers:
            if worker.state in ("joining", "returning"):
                self._try_to_return(worker)
            if late := worker.overdue(self._limits):
                self._lose(worker, late, kill=True)
        if any(worker.state == "serving" for worker in self._workers):
            return
        since = max(worker.lost_at for worker in self._workers)
        hopeless = all(worker.state == "gone" for worker in self._workers)
        if hopeless or self._clock() - since > self._limits.stall_timeout_s:
            raise Stalled(
                f"no rollout worker is alive ({'; '.join(map(str, self._workers))}). events.jsonl has every "
                "failure; rllib-ext resume continues from the last checkpoint"
            )

    def _try_to_return(self, worker: Worker) -> None:
        joining = worker.state == "joining"
        try:
            if worker.is_back():
                self._report(*(
                    ("worker_joined", f"worker {worker.number} joined the run") if joining
                    else ("worker_replaced", f"worker {worker.number} is back")
                ))  # fmt: skip
                self._dispatch()
        except (ray.exceptions.RayActorError, ray.exceptions.RayTaskError) as error:
            self._give_up(
                worker, f"its actor does not come {'up' if joining else 'back'}: {_first_line(error)}"
            )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
