"""``to_char`` of numbers: PostgreSQL's patterns, walked as its ``formatting.c`` walks them.

    to_char(1234.5, '9,999.99')  →  ' 1,234.50'        to_char(-5, 'FMS000')  →  '-005'

A pattern is read once into its parts and what they count to (``_Shape``); then the number's digits are written part by
part (``_Writer``). The rules look odd and are PostgreSQL's: where a blank stands for the sign, when a leading zero
goes, what FM takes away. Locale parts (D, G, L) are those of the C locale.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Final

from ....base.errors import Invalid

_WIDE: Final = Context(prec=200)
_FLOAT_DIGITS: Final = 15
_PART: Final = re.compile(
    r'"(?P<quoted>(?:\\.|[^"\\])*)"?|(?P<part>EEEE|eeee|FM|fm|MI|mi|PL|pl|PR|pr|RN|rn|SG|sg|TH|th|[,.09BbDdGgLlSsVv])'
    r'|\\(?P<escaped>")|(?P<other>.)',
    re.DOTALL,
)


@dataclass(slots=True)
class _Shape:
    """What a pattern's parts count to; names as in ``NUMDesc``."""

    parts: list[tuple[str, str]] = field(default_factory=list)  # (part, "") or ("", text that stands for itself)
    pre: int = 0
    post: int = 0
    multi: int = 0
    zero_start: int = 0
    zero_end: int = 0
    sign_at: str = ""  # "pre" or "post", of S
    sign_pre: int = 0
    flags: set[str] = field(default_factory=set)


@functools.lru_cache(maxsize=256)
def _shape(pattern: str) -> _Shape:
    shape = _Shape()
    for match in _PART.finditer(pattern):
        if match["part"] is None:
            text = match["quoted"] if match["quoted"] is not None else match["escaped"] or match["other"]
            shape.parts.append(("", re.sub(r"\\(.)", r"\1", text) if match["quoted"] is not None else text))
            continue
        part = match["part"] if match["part"] in ("th", "rn") else match["part"].upper()
        shape.parts.append((part, ""))
        _count(shape, part)
    if "ROMAN" in shape.flags and shape.flags - {"ROMAN", "FM"}:
        raise _syntax('"RN" is incompatible with other formats')
    return shape


def _count(shape: _Shape, part: str) -> None:
    flags = shape.flags
    if "EEEE" in flags and part != "EEEE":
        raise _syntax('"EEEE" must be the last pattern used')
    match part:
        case "9" | "0":
            if "PR" in flags:
                raise _syntax(f'"{part}" must be ahead of "PR"')
            if part == "0" and "ZERO" not in flags and "DECIMAL" not in flags:
                flags.add("ZERO")
                shape.zero_start = shape.pre + 1
            if part == "9" and "MULTI" in flags:
                shape.multi += 1
            elif "DECIMAL" in flags:
                shape.post += 1
            else:
                shape.pre += 1
            if part == "0":
                shape.zero_end = shape.pre + shape.post
        case "." | "D":
            if "DECIMAL" in flags:
                raise _syntax("multiple decimal points")
            if "MULTI" in flags:
                raise _syntax('cannot use "V" and decimal point together')
            flags.add("DECIMAL")
        case "S":
            if "LSIGN" in flags:
                raise _syntax('cannot use "S" twice')
            if flags & {"PLUS", "MINUS", "PR"}:
                raise _syntax('cannot use "S" and "PL"/"MI"/"SG"/"PR" together')
            flags.add("LSIGN")
            shape.sign_at, shape.sign_pre = ("post", 0) if "DECIMAL" in flags else ("pre", shape.pre)
        case "MI" | "PL" | "SG" | "PR":
            if "LSIGN" in flags or (part == "PR" and flags & {"PLUS", "MINUS"}):
                raise _syntax(f'cannot use "S" and "{part}" together')
            flags.update({"MI": ("MINUS",), "PL": ("PLUS",), "SG": ("MINUS", "PLUS"), "PR": ("PR",)}[part])
        case "rn" | "RN":
            flags.add("ROMAN")
        case "V":
            if "DECIMAL" in flags:
                raise _syntax('cannot use "V" and decimal point together')
            flags.add("MULTI")
        case "EEEE":
            if flags - {"DECIMAL", "ZERO"}:
                raise _syntax('"EEEE" is incompatible with other formats')
            flags.add("EEEE")
        case "FM":
            flags.add("FM")
        case _:
            pass


def _syntax(message: str) -> Invalid:
    return Invalid(message, sqlstate="42601")


def char_of_number(x: Decimal, pattern: str) -> str:
    """``to_char(numeric, text)``; integers, too."""
    shape = _shape(pattern)
    if "ROMAN" in shape.flags:
        return _roman(shape, x)
    if "EEEE" in shape.flags:
        return _scientific(x, shape.post)
    scaled = x.scaleb(shape.multi, context=_WIDE)
    rounded = scaled.quantize(Decimal(1).scaleb(-shape.post), rounding=ROUND_HALF_UP, context=_WIDE)
    sign = "-" if rounded < 0 else "+"
    return _written(shape, sign, f"{abs(rounded):f}", shape.post)


_PIECE: Final = re.compile(r'FM|MI|PL|SG|PR|TH|RN|EEEE|"[^"]*"|.', re.IGNORECASE | re.DOTALL)
_UNREAD: Final = ("RN", "EEEE", "V")


def digits_read(pattern: str) -> int:
    """How many digits after the point ``to_number`` reads by a pattern."""
    pieces = [piece.upper() for piece in _PIECE.findall(pattern)]
    point = next((place for place, piece in enumerate(pieces) if piece in (".", "D")), len(pieces))
    return sum(piece in ("9", "0") for piece in pieces[point:])


def number_of_char(text: str, pattern: str) -> Decimal:
    """``to_number``: the digits of a text at the places that a pattern says. Raises Invalid."""
    rest = list(text.lstrip()[::-1])
    digits, negative = "", False

    def take(letters: str) -> str:
        return rest.pop() if rest and rest[-1] in letters else ""

    for piece in map(str.upper, _PIECE.findall(pattern)):
        if piece in _UNREAD:
            raise Invalid(f'"{piece}" in to_number is not supported', hint="9, 0, D, G, S, L are.", sqlstate="0A000")
        match piece:
            case "9" | "0":
                if not digits:
                    negative |= take("+-<") in ("-", "<")
                while take(" "):
                    pass
                digits += take("0123456789")
            case "." | "D":
                digits += take(".")
            case "," | "G":
                take(",")
            case "S" | "MI" | "PL" | "SG":
                negative |= take("+-") == "-"
            case "PR":
                take(">")
            case "L":
                if rest and not rest[-1].isdigit() and rest[-1] not in "+-.":
                    rest.pop()
            case "FM":
                pass
            case _:
                for _ in piece.strip('"') if piece.startswith('"') else piece:
                    rest[-1:] = []
    if not digits.strip("."):
        raise Invalid(f'invalid input syntax for type numeric: "{text}"', sqlstate="22P02")
    return Decimal(digits) * (-1 if negative else 1)


def char_of_float(x: float, pattern: str) -> str:
    """``to_char(double precision, text)``: of 15 digits."""
    shape = _shape(pattern)
    if not math.isfinite(x):
        raise Invalid("to_char of NaN and infinity is not supported", sqlstate="0A000")
    if "ROMAN" in shape.flags:
        return _roman(shape, Decimal(round(x)))
    if "EEEE" in shape.flags:
        text = f"{x:.{shape.post}e}"
        return text if text.startswith("-") else f" {text}"
    x *= 10**shape.multi
    digits = len(f"{abs(x):.0f}")
    post = 0 if digits >= _FLOAT_DIGITS else min(shape.post, _FLOAT_DIGITS - digits)
    text = f"{x:.{post}f}"
    return _written(shape, "-" if text.startswith("-") else "+", text.removeprefix("-"), post)


def _scientific(x: Decimal, places: int) -> str:
    if not x:
        return f" {'0.' + '0' * places if places else '0'}e+00"
    rounded = Context(prec=places + 1, rounding=ROUND_HALF_UP).plus(x)
    sign, digits, _ = rounded.as_tuple()
    shown = "".join(map(str, digits)).ljust(places + 1, "0")
    mantissa = shown[0] + ("." + shown[1 : places + 1] if places else "")
    return f"{'-' if sign else ' '}{mantissa}e{rounded.adjusted():+03}"


_ROMAN: Final = (
    (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"),
    (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
)  # fmt: skip


def _roman(shape: _Shape, x: Decimal) -> str:
    number = int(x.quantize(Decimal(1), rounding=ROUND_HALF_UP, context=_WIDE))
    text = ""
    if not 1 <= number <= 3999:
        text = "#" * 15
    else:
        for value, letters in _ROMAN:
            text += letters * (number // value)
            number %= value
    if any(part == "rn" for part, _ in shape.parts):
        text = text.lower()
    return text if "FM" in shape.flags else text.rjust(15)


def _written(shape: _Shape, sign: str, number: str, post: int) -> str:
    pre = shape.pre + shape.multi
    whole = number.partition(".")[0]
    spaces = max(pre - len(whole), 0)
    if len(whole) > pre:
        number = "#" * pre + "." + "#" * post
    return _Writer(shape, sign, number, pre, spaces).run()


class _Writer:
    """``NUM_processor`` and ``NUM_numpart_to_char``: one pass over the parts with a place in the number."""

    def __init__(self, shape: _Shape, sign: str, number: str, pre: int, spaces: int) -> None:
        self.shape, self.sign, self.number, self.spaces = shape, sign, number, spaces
        self.fill = "FM" in shape.flags
        self.zero = "ZERO" in shape.flags
        self.decimal = "DECIMAL" in shape.flags
        self.lsign = "LSIGN" in shape.flags
        self.bracket = "PR" in shape.flags and not (sign == "+" and self.fill)
        self.zero_start = shape.zero_start - 1 if shape.zero_start else 0
        self.sign_at = shape.sign_at
        if shape.flags & {"PLUS", "MINUS"}:
            self.sign_written = not ("PLUS" in shape.flags and "MINUS" not in shape.flags)
        else:
            self.sign_written = sign == "+" and self.fill and not self.lsign
            if self.sign_at == "pre" and pre == shape.sign_pre:
                self.sign_at = "post"
        self.count = shape.post + pre - 1
        self.relevant = self._last_relevant() if self.fill and self.decimal else None
        if not self.sign_written and spaces == 0:
            self.count += 1
        self.at = self.current = 0
        self.inside = False
        self.out: list[str] = []

    def _last_relevant(self) -> int | None:
        """The place of the last digit after the point that FM keeps."""
        point = self.number.find(".")
        if point < 0:
            return None
        last = max((i for i in range(point, len(self.number)) if self.number[i] not in "0."), default=point)
        if self.shape.zero_end > self.spaces:
            last = max(last, self.shape.zero_end - self.spaces)
        return last

    def run(self) -> str:
        for part, text in self.shape.parts:
            match part:
                case "":
                    self.out.append(text)
                case "9" | "0" | "." | "D":
                    self._digit(part)
                case "," | "G":
                    if self.inside or not self.fill:
                        self.out.append("," if self.inside else " ")
                case "L":
                    self.out.append(" ")
                case "MI" | "PL":
                    own = "-" if part == "MI" else "+"
                    self.out.append(own if self.sign == own else "" if self.fill else " ")
                case "SG":
                    self.out.append(self.sign)
                case "TH" | "th":
                    if self.number[0] != "#" and self.sign != "-" and not self.decimal:
                        self.out.append(_ordinal(self.number, part))
                case _:
                    pass
        return "".join(self.out)

    def _blank(self) -> bool:
        """A zero before the point that no 0 of the pattern asks for: ``0.1`` by ``9.9`` is `` .1``."""
        return not self.zero and self.at == 0 and self.number[0] == "0" and self.shape.post != 0

    def _at_point(self) -> bool:
        return self.relevant is not None and self.number[self.relevant : self.relevant + 1] == "."

    def _digit(self, part: str) -> None:
        begun = self.current >= self.spaces or (self.zero and self.zero_start == self.current)
        if not self.sign_written and begun and (not self._blank() or self._at_point()):
            self._write_sign()
        here = self.number[self.at : self.at + 1]
        if self.current < self.spaces and (self.zero_start > self.current or not self.zero):
            if not self.fill:
                self.out.append(" ")
        elif self.zero and self.current < self.spaces:
            self.out.append("0")
            self.inside = True
        else:
            self._write_digit(part, here)
            self.at += bool(here)
        end = self.count + bool(self.spaces) + self.decimal
        if self.relevant is not None and self.relevant == self.at:
            end = self.current
        if self.current + 1 == end:
            self._write_sign_after()
        self.current += 1

    def _write_digit(self, part: str, here: str) -> None:
        if here == ".":
            if not self._at_point() or self.fill:
                self.out.append(".")
        elif self.relevant is not None and self.at > self.relevant and part != "0":
            pass
        elif self._blank():
            if not self.fill:
                self.out.append(" ")
            elif self._at_point():
                self.out.append("0")
        else:
            self.out.append(here)
            self.inside = True

    def _write_sign(self) -> None:
        if self.lsign:
            if self.sign_at == "pre":
                self.out.append(self.sign)
                self.sign_written = True
            return
        if self.bracket:
            self.out.append(" " if self.sign == "+" else "<")
        elif self.sign == "-" or not self.fill:
            self.out.append("-" if self.sign == "-" else " ")
        self.sign_written = True

    def _write_sign_after(self) -> None:
        if self.sign_written and self.bracket:
            self.out.append(" " if self.sign == "+" else ">")
        elif self.lsign and self.sign_at == "post":
            self.out.append(self.sign)


def _ordinal(number: str, part: str) -> str:
    last = number[-1]
    word = "th" if number[-2:-1] == "1" else {"1": "st", "2": "nd", "3": "rd"}.get(last, "th")
    return word.upper() if part == "TH" else word
