"""A recipe's entry to a validated modifier, with every mistake at its place in the file."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import AliasChoices, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from sparsify.clock import RelativeTime
from sparsify.errors import Problem, RecipeError
from sparsify.modifiers.base import Modifier, Unsettled
from sparsify.modifiers.times import GUESSES, FieldPath, TimeProblem, check_within, in_epochs, relative_times
from sparsify.recipe.recipe import Mark, ModifierSpec

OTHER_NAMES = {"start": "start_epoch", "end": "end_epoch", "update": "update_frequency", "targets": "params"}
"""What dict-style recipes call fields, where a modifier has no field of that name itself."""
RETIRED = {
    "log_types": "what is logged is the trainer's to choose",
    "group": "a modifier's group is the key that it stands under",
    "index": "a modifier's place is its place in the file",
}
"""Fields that every modifier once had, and why they have no meaning."""


UNCHECKED = "the fields cannot be checked"
_FAULTS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, re.error)
_TIMES = "an epoch, or a share of the run such as 20%, or 500 steps"


class Validator:
    """Validates entries of one recipe.

    Args:
        problems: Where mistakes go.
        warnings: Where what is passed over goes.
    """

    def __init__(self, problems: list[Problem], warnings: list[Problem]) -> None:
        self.problems, self.warnings = problems, warnings
        self._told: set[str] = set()

    def modifier(self, spec: ModifierSpec, cls: type[Modifier]) -> Modifier | None:
        """The modifier of ``spec``; None if something is wrong with it."""
        entry = _Entry(spec, cls)
        for name in entry.retired:
            if name not in self._told:
                self._told.add(name)
                message = f"{name} is not used any more ({RETIRED[name]}): it is passed over here and below"
                self.warnings.append(entry.at_written((name, "__key__"), message))
        try:
            modifier = entry.made()
        except RecipeError as error:
            self.problems += error.problems
            return None
        modifier.written_at(_at(spec.mark, "", spec.path, None))
        return modifier


class _Entry:
    """One entry: its fields under the names that the class has, and how they were written."""

    def __init__(self, spec: ModifierSpec, cls: type[Modifier]) -> None:
        self.spec, self.cls, self.known = spec, cls, fields_of(cls)
        self.retired = [name for name in spec.fields if name in RETIRED and name not in self.known]
        self.written: dict[str, str] = {}
        self.doubled: dict[str, str] = {}
        for name in spec.fields:
            ours = OTHER_NAMES.get(name, name) if name not in self.known else name
            if ours in self.written:
                self.doubled[name] = ours
            elif name not in self.retired:
                self.written[ours if ours in self.known else name] = name

    def made(self) -> Modifier:
        """The validated modifier.

        Raises:
            RecipeError: With all its mistakes.
        """
        if self.doubled:
            raise RecipeError(
                [
                    self.at_written((name, "__key__"), f"{ours!r} stands here under two names", "give it once")
                    for name, ours in self.doubled.items()
                ]
            )
        fields = {ours: self.spec.fields[name] for ours, name in self.written.items()}
        try:
            times = relative_times(self.cls, fields)
        except TimeProblem as error:
            raise RecipeError(self._time_problem(error)) from error
        if not any(isinstance(time, RelativeTime) for time in times.values()):
            return self._validated(in_epochs(self.cls, fields, times, 0.0, 0.0, 1))
        modifier = self._guessed(fields, times)
        modifier.leave_unsettled(
            Unsettled(
                frozenset(str(path[0]) for path, time in times.items() if isinstance(time, RelativeTime)),
                partial(self._settled, fields, times),
            )
        )
        return modifier

    def _guessed(self, fields: Mapping[str, Any], times: Mapping[FieldPath, float | RelativeTime]) -> Modifier:
        """Valid under some run: what is wrong under every run is wrong."""
        plain = [v for n in self.cls.epoch_fields if isinstance(v := fields.get(n), int | float)]
        latest = max([1.0, *plain])
        first: RecipeError | None = None
        for length, steps in GUESSES:
            try:
                return self._validated(in_epochs(self.cls, fields, times, 0.0, length or latest, steps), times)
            except RecipeError as error:
                first = first or error
        raise first or RecipeError(self.at((), "no run fits its times"))

    def _settled(
        self,
        fields: Mapping[str, Any],
        times: Mapping[FieldPath, float | RelativeTime],
        begin: float,
        length: float,
        left: float,
        steps: int,
    ) -> Modifier:
        try:
            check_within(times, left + begin, steps)
        except TimeProblem as error:
            raise RecipeError(self._time_problem(error)) from error
        return self._validated(in_epochs(self.cls, fields, times, begin, length, steps), times)

    def _validated(self, fields: dict[str, Any], times: Mapping[FieldPath, object] | None = None) -> Modifier:
        try:
            return self.cls(**fields)
        except ValidationError as error:
            raise RecipeError(self._located(error.errors(), times or {})) from error
        except _FAULTS as error:  # of a modifier's own checks: no traceback, whatever a recipe holds
            raise RecipeError(self.at((), f"{UNCHECKED}: {type(error).__name__}: {error}")) from error

    def _time_problem(self, error: TimeProblem) -> Problem:
        return self.at(error.path, f"{self._name(str(error.path[0]))}: {error}")

    def _located(self, details: Sequence[ErrorDetails], times: Mapping[FieldPath, object]) -> list[Problem]:
        found = [self._detail(detail, times) for detail in _one_branch(details)]
        # A misspelt field is missing under its right name as well: that is one mistake, not two.
        meant = {self._missing((p.hint or "").removeprefix("did you mean ").rstrip("?")) for p in found}
        return [p for p in found if p.message not in meant]

    def _missing(self, name: str) -> str:
        return f"{self.spec.type} needs the field {name!r}"

    def _detail(self, detail: ErrorDetails, times: Mapping[FieldPath, object]) -> Problem:
        loc = _plain(detail)
        name = self._name(str(loc[0])) if loc else ""
        described = self._describe(str(loc[0])) if loc else None
        if detail["type"] == "extra_forbidden":
            return self._unknown(name, loc)
        if detail["type"] == "literal_error":
            choices = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected")))
            near = difflib.get_close_matches(str(detail["input"]), choices, n=1)
            described = f"did you mean {near[0]}?" if near else described
        if detail["type"] == "missing":
            return _at(self.spec.mark, self._missing(name), f"{self.spec.path}.{name}", described)
        message = detail["msg"].removeprefix("Value error, ")
        if loc:
            message = f"{name}: {message[:1].lower()}{message[1:]}, got {_short(detail['input'])}"
        elif times:
            message += f" ({', '.join(f'{self._name(str(p[0]))} is {t}' for p, t in times.items())})"
        return self.at(loc or self._named_in(message), message, described)

    def _named_in(self, message: str) -> FieldPath:
        """What a rule over several fields speaks of first, a field or a part of one: nearer than the modifier's place."""
        words = re.findall(r"\w+", message)
        field = next((word for word in words if word in self.written), None)
        if field is None:
            return self._part_named_by(words)
        inner = next((word for word in words if (self._name(field), word) in self.spec.marks), None)
        if inner is None:
            return (field,)
        return (field, inner, "__key__") if " has no " in message else (field, inner)

    def _part_named_by(self, words: Sequence[str]) -> FieldPath:
        """The one innermost part of a field that lies where words lead, as ``weights: symmetric`` of a scheme does."""
        inside = [p for p in self.spec.marks if len(p) > 1 and p[-1] != "__key__" and set(p[1:]) <= set(words)]
        deepest = max(map(len, inside), default=0)
        found = [path for path in inside if len(path) == deepest]
        return found[0] if len(found) == 1 else ()

    def _unknown(self, name: str, loc: FieldPath) -> Problem:
        place = (*loc[:1], "__key__")
        if name in self.known:
            return self.at(place, f"{name!r} stands here under two names", "give it once")
        fields = sorted(self.known)
        near = difflib.get_close_matches(name, fields, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"its fields are: {', '.join(fields)}"
        return self.at(place, f"{self.spec.type} has no field {name!r}", hint)

    def _name(self, ours: str) -> str:
        """A field as the recipe has it."""
        return self.written.get(ours, ours)

    def _describe(self, name: str) -> str | None:
        field = self.known.get(name)
        if field is None:
            return None
        described = field.description or fields_of(Modifier).get(name, field).description
        times = (*self.cls.epoch_fields, *self.cls.spans)
        return "; ".join(filter(None, (described, _TIMES if name in times else None))) or None

    def at(self, loc: FieldPath, message: str, hint: str | None = None) -> Problem:
        """A problem at the innermost place known on the way to ``loc``, a path by the class's names."""
        return self.at_written((self._name(str(loc[0])), *loc[1:]) if loc else (), message, hint)

    def at_written(self, path: FieldPath, message: str, hint: str | None = None) -> Problem:
        """As ``at``, for a path by the names that the recipe has."""
        name = str(path[0]) if path else ""
        while path and path not in self.spec.marks:
            path = path[:-1]
        mark = self.spec.marks.get(path, self.spec.mark)
        return _at(mark, message, ".".join(filter(None, (self.spec.path, name))), hint)


def fields_of(cls: type[Modifier]) -> dict[str, FieldInfo]:
    """Fields of a modifier by every name that recipes may use."""
    return {name: field for own, field in cls.model_fields.items() for name in _names(own, field)}


def _names(name: str, field: FieldInfo) -> list[str]:
    if isinstance(field.validation_alias, AliasChoices):
        return [choice for choice in field.validation_alias.choices if isinstance(choice, str)]
    return [field.alias or name]


def _plain(detail: ErrorDetails) -> FieldPath:
    """Where in the fields, without pydantic's names of validators and of a union's branches."""
    loc = detail["loc"]
    inner = [part for part in loc[1:] if isinstance(part, int) or not _is_branch(part)]
    return (*loc[:1], *("__key__" if part == _KEY_OF else part for part in inner))


def _is_branch(part: str) -> bool:
    return part.startswith(("function-", "is-", "list[", "dict[", "literal[")) or part in _KINDS


_KINDS = {"str": str, "int": int, "float": float, "bool": bool, "none": type(None)}
_KEY_OF = "[key]"
"""What pydantic puts behind a key of a mapping when the key itself is wrong."""
_LENGTHY = 60


def _one_branch(details: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Of the errors of a union's branches only those of the branch that the value is nearest to."""
    groups: dict[FieldPath, list[ErrorDetails]] = {}
    for detail in details:
        loc = detail["loc"]
        key = loc[:1] if len(loc) > 1 and isinstance(loc[1], str) and _is_branch(loc[1]) else loc
        groups.setdefault(key, []).append(detail)
    return [detail for group in groups.values() for detail in _nearest(group)]


def _nearest(group: list[ErrorDetails]) -> list[ErrorDetails]:
    branches = {str(detail["loc"][1]) for detail in group if len(detail["loc"]) > 1}
    if len(branches) < 2:
        return group
    inside = [detail for detail in group if len(_plain(detail)) > 1]
    if inside:
        return inside
    wanted = " or ".join(dict.fromkeys(d["msg"].removeprefix("Input should be ") for d in group))
    return [{**group[0], "msg": f"Input should be {wanted}"}]


def _short(value: object) -> str:
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= _LENGTHY else f"{text[: _LENGTHY - 3]}..."


def _at(mark: Mark, message: str, path: str, hint: str | None) -> Problem:
    return Problem(message, mark.file, mark.line, mark.column, path, hint)
