"""Names of relations: ConceptNet's own, and what a file may write for them.

The mined files of the source write relations in lower case (``atlocation``), the training files as ConceptNet does
(``AtLocation``). A name is looked up without its case, first among those that the caller knows, then here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# The 34 relations of the 100,000 training triples.
CONCEPTNET = (
    "AtLocation", "CapableOf", "Causes", "CausesDesire", "CreatedBy", "DefinedAs", "DesireOf", "Desires", "HasA",
    "HasFirstSubevent", "HasLastSubevent", "HasPainCharacter", "HasPainIntensity", "HasPrerequisite", "HasProperty",
    "HasSubevent", "InheritsFrom", "InstanceOf", "IsA", "LocatedNear", "LocationOfAction", "MadeOf",
    "MotivatedByGoal", "NotCapableOf", "NotDesires", "NotHasA", "NotHasProperty", "NotIsA", "NotMadeOf", "PartOf",
    "ReceivesAction", "RelatedTo", "SymbolOf", "UsedFor",
)  # fmt: skip


class RelationNames:
    """Looks relations up. closed: only ``known`` ones are right; otherwise a new name is taken as it is written."""

    def __init__(self, known: Iterable[str] = (), *, closed: bool = False) -> None:
        self.known, self.closed = tuple(known), closed
        written = (*(() if closed else CONCEPTNET), *self.known)  # the caller's spelling wins
        self._by_case = {name.lower(): name for name in written}

    def find(self, written: str) -> str:
        """The name of a relation. Raises KeyError with what to say of it where it is none of a closed set."""
        found = self._by_case.get(written.lower())
        if found is None and self.closed:
            near = difflib.get_close_matches(written.lower(), self._by_case, n=1, cutoff=0.6)
            hint = f"; the nearest is {self._by_case[near[0]]!r}" if near else ""
            raise KeyError(f"relation {written[:40]!r} is not among the known ones{hint}")
        return written if found is None else found
