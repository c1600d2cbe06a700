"""XML as a plain tree, read safely: no document type, no entities, no depth or size that a small file can blow up."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.parsers import expat

from planner.errors import InputError

_DEEPEST = 64
_MOST_ELEMENTS = 400_000


@dataclass(slots=True)
class Element:
    """One element: its name without the namespace, its attributes, what is inside."""

    name: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, name: str) -> list[Element]:
        """Every element of this name below this one, in the order of the document."""
        found, left = [], list(reversed(self.children))
        while left:
            one = left.pop()
            if one.name == name:
                found.append(one)
            left += reversed(one.children)
        return found


def parse_xml(text: str, origin: str) -> Element:
    """The root of a document. Raises InputError for what is not XML, and for documents that declare entities."""
    root = Element("", {})
    open_elements, count = [root], 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if len(open_elements) > _DEEPEST or count > _MOST_ELEMENTS:
            what = "nested too deeply" if len(open_elements) > _DEEPEST else "has too many elements"
            raise InputError(what, origin=origin, expected="a plain description")
        element = Element(name.rsplit(":", 1)[-1], attributes)
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def end(name: str) -> None:
        open_elements.pop()

    def characters(data: str) -> None:
        if len(open_elements[-1].text) < 10_000:
            open_elements[-1].text += data

    def refuse(*_: object) -> None:
        raise InputError("declares a document type or entities", origin=origin, expected="XML without a DOCTYPE")

    parser = expat.ParserCreate("utf-8")  # whatever the document says: its bytes were decoded already
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(text.encode("utf-8", "replace"), True)
    except expat.ExpatError as error:
        raise InputError(f"not valid XML: {error}", origin=origin, expected="a complete XML document") from None
    return root.children[0]
