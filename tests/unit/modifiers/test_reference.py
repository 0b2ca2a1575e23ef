"""What classes say about themselves."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field

from sparsify.modifiers import training  # noqa: F401  (registers modifiers)
from sparsify.modifiers.base import Flag, Modifier
from sparsify.modifiers.reference import example_fields, meaning_of, reference, references, type_words
from sparsify.modifiers.registry import classes


class _Sample(Modifier):
    """Does nothing, ``twice``.

    More of it.
    """

    paper: ClassVar[str] = "Somebody 2020"
    start_epoch: float
    mode: Literal["a", "b"] = Field(description="which")
    share: Annotated[float, Field(ge=0, lt=1)] = Field(0.5, description="how much")
    names: list[str] | None = None
    flag: Flag = True
    lr: float = Field(alias="rate", gt=0, examples=[0.25])


def test_a_reference_tells_everything() -> None:
    about = reference(_Sample)
    assert (about.name, about.kind, about.paper) == ("_Sample", "training", "Somebody 2020")
    assert about.summary == "Does nothing, `twice`."
    assert about.text.endswith("More of it.")
    assert about.available
    fields = {field.name: field for field in about.fields}
    assert [f.name for f in about.fields][:3] == ["start_epoch", "mode", "rate"], "what is needed comes first"
    assert fields["start_epoch"].default is None
    assert fields["start_epoch"].meaning == "epoch at which it begins; -1: at once"
    assert (fields["mode"].type, fields["mode"].meaning) == ("a or b", "which")
    assert (fields["share"].type, fields["share"].default) == ("number at least 0 below 1", "0.5")
    assert (fields["names"].type, fields["names"].default) == ("list of text or null", "null")
    assert (fields["flag"].type, fields["flag"].default) == ("true or false", "true")
    assert fields["rate"].type == "number above 0"


def test_an_example_holds_what_is_needed_in_the_order_of_the_class() -> None:
    assert example_fields(_Sample) == {"start_epoch": 0.0, "mode": "a", "rate": 0.25}


def test_a_needed_field_without_an_example_is_told() -> None:
    class Odd(Modifier):
        """Odd."""

        oddity: int

    with pytest.raises(LookupError, match=r"Odd\.oddity has no example"):
        example_fields(Odd)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 8}, "whole number at least 1 at most 8"),
        (
            {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}]},
            "text or list of whole numbers",
        ),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "mapping to number"),
        ({"type": "object"}, "mapping"),
        ({"const": 8}, "8"),
        ({}, "any value"),
    ],
)
def test_types_in_words(schema: dict[str, object], words: str) -> None:
    assert type_words(schema) == words


@pytest.mark.parametrize("about", references(), ids=lambda about: about.name)
def test_every_modifier_explains_itself(about: object) -> None:
    assert about.summary  # type: ignore[attr-defined]
    assert [field.name for field in about.fields if not field.meaning] == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("cls", dict.fromkeys(classes().values()), ids=lambda cls: cls.__name__)
def test_every_example_is_valid(cls: type[Modifier]) -> None:
    assert isinstance(cls(**example_fields(cls)), cls)


def test_a_meaning_comes_from_the_nearest_base_that_has_one() -> None:
    assert meaning_of(_Sample, "end_epoch") == meaning_of(Modifier, "end_epoch") != ""
    assert meaning_of(_Sample, "no_such_field") == ""
