"""A form that comes in parts: the headers of each are put together here; what is done with its bytes is for who takes it in."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from python_multipart.multipart import parse_options_header

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks


class Parts(ABC):
    """A form as it is parsed. Of the part that comes now, `_field` is its name, `_data` what there is of it, `_filed` whether it is a file."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.ended = False
        self._field, self._data, self._filed = "", bytearray(), False
        self._head, self._value = b"", b""
        self._headers: dict[bytes, bytes] = {}

    def callbacks(self) -> "MultipartCallbacks":
        """What the parser calls."""
        return {
            "on_part_begin": self._begun, "on_part_data": self._part, "on_part_end": self._over, "on_end": self._all,
            "on_header_field": self._named, "on_header_value": self._valued, "on_header_end": self._headed, "on_headers_finished": self._known,
        }

    def _sent(self, name: str) -> None:
        """A file of this name begins."""
        self._filed = True

    @abstractmethod
    def _part(self, data: bytes, start: int, end: int) -> None:
        """Some bytes of the part that comes now."""

    def _over(self) -> None:
        """The part is whole."""
        if not self._filed:
            self.fields[self._field] = self._data.decode("utf-8", "replace")

    def _begun(self) -> None:
        self._headers, self._data, self._field, self._filed = {}, bytearray(), "", False

    def _named(self, data: bytes, start: int, end: int) -> None:
        self._head += data[start:end]

    def _valued(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _headed(self) -> None:
        self._headers[self._head.lower()] = self._value
        self._head, self._value = b"", b""

    def _known(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" in options:
            self._sent(options[b"filename"].decode("utf-8", "replace"))

    def _all(self) -> None:
        self.ended = True
