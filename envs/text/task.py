"""What a text environment asks and what came back: two frozen records that travel between processes."""

from dataclasses import dataclass, field
from typing import Any

from envs.errors import BadData

Message = dict[str, str]
Prompt = str | tuple[Message, ...]
ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True)
class Task:
    """One thing to write.

    id         unique within its environment and split; the same in every process and on every machine
    prompt     plain text, or a conversation: a tuple of ``{"role": ..., "content": ...}`` messages
    reference  the text a person wrote, or the right answer; None where there is none
    info       whatever else a reward or a report needs; JSON values only, because tasks are sent and logged
    """

    id: str
    prompt: Prompt
    reference: str | None = None
    info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise BadData(
                f"task id must be a non-empty string, got {self.id!r}; give each task a stable name"
            )
        if not isinstance(self.prompt, str):
            check_messages(self.id, self.prompt)
        if not isinstance(self.reference, str | None):
            raise BadData(
                f"task {self.id!r}: reference must be text or None, got {type(self.reference).__name__}"
            )


@dataclass(frozen=True)
class Sample:
    """One finished answer. ``completion`` is the last turn's text, ``turns`` holds the text of every turn."""

    task: Task
    completion: str
    turns: tuple[str, ...] = ()


def check_messages(task_id: str, prompt: object) -> None:
    """Refuse anything that a chat template could not render."""
    if not isinstance(prompt, tuple) or not prompt:
        raise BadData(
            f"task {task_id!r}: prompt must be text or a tuple of messages, got {type(prompt).__name__} "
            f"of {len(prompt) if hasattr(prompt, '__len__') else 'no'} elements"
        )
    for position, message in enumerate(prompt):
        if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
            raise BadData(f"task {task_id!r}: message {position} must be a dict with 'role' and 'content'")
        if message["role"] not in ROLES or not isinstance(message["content"], str):
            raise BadData(
                f"task {task_id!r}: message {position} needs a role of {ROLES} and text as its content"
            )
