"""XML as a plain tree, read safely: no document type, no entities, bounded depth and size."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.parsers import expat

from planner.errors import InputError

_MAX_DEPTH = 64
_MAX_ELEMENTS = 400_000


@dataclass(slots=True)
class XmlElement:
    """An element: its name without the namespace, its attributes, its children."""

    name: str
    attributes: dict[str, str]
    children: list[XmlElement] = field(default_factory=list)
    text: str = ""

    def find_all(self, name: str) -> list[XmlElement]:
        """Every descendant of this name, in the order of the document."""
        matches, pending = [], list(reversed(self.children))
        while pending:
            element = pending.pop()
            if element.name == name:
                matches.append(element)
            pending += reversed(element.children)
        return matches


def parse_xml(text: str) -> XmlElement:
    """The root of a document. Raises InputError for invalid XML, and for documents that declare entities."""
    root = XmlElement("", {})
    open_elements, element_count = [root], 0

    def open_element(name: str, attributes: dict[str, str]) -> None:
        nonlocal element_count
        element_count += 1
        if len(open_elements) > _MAX_DEPTH or element_count > _MAX_ELEMENTS:
            problem = "nested too deeply" if len(open_elements) > _MAX_DEPTH else "has too many elements"
            raise InputError(problem, expected="a plain description")
        element = XmlElement(name.rsplit(":", 1)[-1], attributes)
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def close_element(name: str) -> None:
        open_elements.pop()

    def append_text(data: str) -> None:
        if len(open_elements[-1].text) < 10_000:
            open_elements[-1].text += data

    def reject_declaration(*_: object) -> None:
        raise InputError("declares a document type or entities", expected="XML without a DOCTYPE")

    parser = expat.ParserCreate("utf-8")  # the bytes were decoded already: the document's own encoding does not count
    parser.StartElementHandler, parser.EndElementHandler = open_element, close_element
    parser.CharacterDataHandler = append_text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = reject_declaration
    try:
        parser.Parse(text.encode("utf-8", "replace"), True)
    except expat.ExpatError as error:
        raise InputError(f"not valid XML: {error}", expected="a complete XML document") from None
    return root.children[0]
