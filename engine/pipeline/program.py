"""From a shape to the program that engine/kernels/program.py goes through: what a kernel does, without its compiler.

``_Writer`` walks the shape as generate.py does. Instructions are written with numbers of buffers, each filled once:
what was computed for all rows that are left is not computed again. A condition that leaves rows out makes what was
computed before useless but for all rows of the chunk, of which the chosen ones are taken. In the end buffers are given
places: one that is not read any more is another's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..kernels import program as op
from . import generate
from .bounds import INT64_MAX, INT64_MIN, can_be_null, columns_read
from .order import own_stages, stages
from .shape import Node, NotCovered, Probe, Shape

_SINKS: Final = {
    "count": op.COUNT,
    "valid": op.COUNT,
    "sum": op.SUM,
    "min": op.LEAST,
    "max": op.GREATEST,
    "fsum": op.SUM_REALS,
    "fmin": op.LEAST_REAL,
    "fmax": op.GREATEST_REAL,
    "value": op.PUT,
    "fvalue": op.PUT,
    "distinct": op.MARK,
}
_NAN: Final = 0x7FF8000000000000
_NEUTRAL: Final = {"min": INT64_MAX, "max": INT64_MIN, "fmin": _NAN, "fmax": -0x10000000000000}
"""What changes nothing, by its bits."""

_WORDS: Final = {"add": op.ADD, "sub": op.SUB, "mul": op.MUL}
_REALS: Final = {"fadd": op.ADD_REALS, "fsub": op.SUB_REALS, "fmul": op.MUL_REALS}
_COMPARED: Final = {
    "==": op.EQUAL,
    "!=": op.DIFFERENT,
    "<": op.LESS,
    "<=": op.LESS_EQUAL,
    ">": op.GREATER,
    ">=": op.GREATER_EQUAL,
}
_TURNED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_COLUMNS: Final = ("column", "double", "single", "flag", "present", "code")
_TRUTHS: Final = frozenset(
    (
        *(op.KNOWN, op.ALWAYS, op.EQUAL, op.LESS, op.LESS_EQUAL, op.GREATER, op.GREATER_EQUAL, op.DIFFERENT, op.BEYOND),
        *(op.EQUAL_REALS, op.LESS_REALS, op.LESS_EQUAL_REALS, op.AND, op.OR, op.AND_NOT, op.NOT, op.IS),
        *(op.CHOOSE_TRUTHS, op.TEXT, op.HAS_BIT, op.SIDE_TRUTHS, op.READ_VALID, op.AGAIN_TRUTHS),
    )
)
"""What fills a buffer of truths."""


ORDERS_MAX: Final = 16
"""Orders of stages of which a program is kept."""


class Program:
    """A kernel of a shape, at once: called as a generated one. ``lines`` are those of stages as they stand.

    Another order of stages is another text, written when it is asked for first. Raises NotCovered for what no
    instruction does.
    """

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._orders: dict[tuple[int, ...], np.ndarray] = {}
        self.lines = _Writer(shape, generate.CHUNK).program()

    def __call__(self, *given: Any) -> int:
        asked = given[-1]
        return op.interpret(self._of(tuple(asked[: len(asked) // 3].tolist())), *given)

    def _of(self, order: tuple[int, ...]) -> np.ndarray:
        if order == tuple(range(len(order))):
            return self.lines
        lines = self._orders.get(order)
        if lines is None:
            if len(self._orders) >= ORDERS_MAX:
                self._orders.clear()
            lines = self._orders[order] = _Writer(self._shape, generate.CHUNK, order).program()
        return lines


def program_of(shape: Shape) -> Program:
    """Raises NotCovered for what no instruction does."""
    return Program(shape)


@dataclass(slots=True)
class _Line:
    """``sources``: buffers, 0: none; as instructions have them, behind ``out``. ``rest``: what else is said."""

    what: int
    out: int
    sources: tuple[int, ...]
    rest: tuple[int, ...] = ()


class _Writer:
    def __init__(self, shape: Shape, chunk: int, order: Sequence[int] | None = None) -> None:
        self._shape = shape
        self._chunk = chunk
        self._order = order
        self._joined = {slot: (probe, place) for probe in shape.probes for place, slot in enumerate(probe.slots)}
        self._what: dict[int, int] = {}  # what fills a buffer
        self._negated: dict[int, int] = {}  # by the buffer of the opposite
        self._once: list[_Line] = []
        self._lines: list[_Line] = []
        self._made = 0
        self._constants: dict[Any, int] = {}
        self._known: dict[Any, int | None] = {}
        self._whole: dict[Any, int | None] = {}  # what was known of all rows of the chunk

    def program(self) -> np.ndarray:
        self._steps()
        sinks = self._sink()
        program = self._placed()
        first = 1 + len(self._once)
        key_words = self._shape.key_words if self._shape.sink == "parts" else 0
        program[0, :2] = first, first + sinks
        program[0, 6:8] = key_words + len(self._shape.accumulators), key_words
        return program

    # Rows.

    def _steps(self) -> None:
        """Conditions, and the partners of rows, in the order of generate.py."""
        shape = self._shape
        own = own_stages(shape)
        order = range(len(own)) if self._order is None else self._order
        if not own:
            self._keep([], visible=True)
        for place, number in enumerate(order):
            counts = len(own) + 2 * number if len(own) > 1 else 0
            self._keep(own[number].conditions, visible=place == 0, counts=counts)
        late = [pair for pair in enumerate(shape.filters) if columns_read(pair[1]) & self._joined.keys()]
        there: set[int] = set(range(len(shape.slots))) - self._joined.keys()
        for number, probe in enumerate(shape.probes):
            if probe.keeps != "left":
                self._keep([("partner", number, *probe.keys)])
            there |= set(probe.slots)
            now = [pair for pair in late if columns_read(pair[1]) <= there]
            late = [pair for pair in late if pair not in now]
            for stage in stages(now):
                self._keep(stage.conditions)

    def _keep(self, conditions: Sequence[Node], *, visible: bool = False, counts: int = 0) -> None:
        """``counts``: where in ``asked`` it is counted how many rows came and passed; 0: nowhere."""
        truth = self._every([self._true(node) for node in conditions]) if conditions else 0
        self._lines.append(_Line(op.KEEP, 0, (truth,), (int(visible), counts)))
        if visible:
            self._whole = self._known
        self._known = {}

    # Sinks.

    def _sink(self) -> int:
        """Returns the number of the first accumulator's instruction."""
        shape = self._shape
        if shape.sink == "set":
            self._lines.append(_Line(op.MARK, 0, (self._key_words()[0], 0), (0,)))
            return len(self._lines) - 1
        values = [self._accumulated(number) for number in range(len(shape.accumulators))]
        places = 0
        match shape.sink:
            case "one":
                pass
            case "dense":
                places = self._new(op.DENSE, (self._key_words()[0],))
            case "parts":
                words = self._key_words()
                if len(words) > op.WIDTH - 3:
                    raise NotCovered("no program has so many words of a key")
                hash = 0
                for word in words:
                    hash = self._new(op.HASH, (word, hash), (int(not hash),))
                places = self._new(op.FIND, (hash, *words))
            case "rows":
                places = self._new(op.ROWS, ())
            case _:
                raise NotCovered(f'no program has the sink "{shape.sink}"')
        sinks = len(self._lines)
        for number, (what, value, truth) in enumerate(values):
            sources = (value, truth) if what == op.MARK else (places, value)
            self._lines.append(_Line(what, 0, sources, (number,)))
        return sinks

    def _accumulated(self, number: int) -> tuple[int, int, int]:
        """What is done for each row, with which value, and for which rows (0: all), where that is no part of these."""
        kind, node, condition = self._shape.accumulators[number]
        what = _SINKS.get(kind)
        if what is None:
            raise NotCovered(f'no program has the accumulator "{kind}"')
        tests = [] if condition is None else [self._true(condition)]
        if node is not None and (missing := self._null(node)) is not None:
            tests.append(self._not(missing))
        truth = self._every(tests) if tests else 0
        if what == op.COUNT:
            return (op.COUNT_TRUTHS, truth, 0) if tests else (what, 0, 0)
        if what == op.MARK:
            return what, self._bit(number, truth), truth
        value = self._rows(self._value(node))
        if tests:
            value = self._new(op.CHOOSE, (value, self._rows(self._literal(_NEUTRAL.get(kind, 0))), truth))
        return what, value, 0

    def _bit(self, accumulator: int, truth: int) -> int:
        """The number of a value's bit; where there is no value that of some bit."""
        shape = self._shape
        first = shape.key_arguments + 3 * (len(shape.keys) + shape.distinct.index(accumulator))
        low, stride, base = (self._integer(first + part) for part in range(3))
        bit = self._two(op.SUB, self._value(shape.accumulators[accumulator][1]), low)
        if truth:
            bit = self._choice(truth, bit, self._literal(0))
        if shape.sink != "one":
            bit = self._two(op.ADD, bit, self._two(op.MUL, self._key_words()[0], stride))
        return self._rows(self._two(op.ADD, bit, base))

    def _key_words(self) -> list[int]:
        """Each word of the row's key."""
        shape = self._shape
        terms: list[list[int]] = [[] for _ in range(shape.key_words)]
        for number, (key, (digit, whole)) in enumerate(zip(shape.keys, shape.packing, strict=True)):
            low, null, stride = (self._integer(shape.key_arguments + 3 * number + part) for part in range(3))
            value, missing = self._value(key), self._null(key)
            zero = self._literal(0)
            if whole >= 0:
                terms[whole].append(value if missing is None else self._choice(missing, zero, value))
            if digit < 0:
                continue
            if whole >= 0:
                assert missing is not None, "a whole key has a digit for NULL"
                terms[digit].append(self._choice(missing, stride, zero))
                continue
            value = self._two(op.SUB, value, low)
            if missing is not None:
                value = self._choice(missing, null, value)
            terms[digit].append(self._two(op.MUL, value, stride))
        return [self._rows(self._sum(term)) for term in terms]

    def _sum(self, terms: Sequence[int]) -> int:
        found = terms[0]
        for term in terms[1:]:
            found = self._two(op.ADD, found, term)
        return found

    # Expressions. A buffer is a number above 0; of constants it has one word.

    def _value(self, node: Node | None) -> int:
        if node is None:
            return self._literal(0)
        found = self._remembered("value", node, self._value_of)
        assert found is not None, "a value is there"
        return found

    def _null(self, node: Node | None) -> int | None:
        """Truths of a value or truth being NULL; None: it never is."""
        if node is None:
            return self._always(True)
        if not can_be_null(node, self._shape.slots):
            return None
        if node[0] in _COLUMNS:
            return self._not(self._valid(node[1]))
        return self._remembered("null", node, self._null_of)

    def _true(self, node: Node) -> int:
        found = self._remembered("true", node, self._true_of)
        assert found is not None, "a truth is there"
        return found

    def _false(self, node: Node) -> int:
        match node[0]:
            case "not":
                return self._true(node[1])
            case "text":
                return self._new(op.IS, (self._of_text(node),), (0,))
            case _:
                null, true = self._null(node), self._true(node)
                return self._not(true if null is None else self._new(op.OR, (true, null)))

    def _value_of(self, node: Node) -> int:
        match node[0]:
            case "column" | "double":
                return self._read(node[1])
            case "single":
                return self._new(op.SINGLE, (self._read(node[1]), 0))
            case "code":
                return self._new(op.CODE, (self._read(node[1]), 0), (self._table(node[2]),))
            case "truth_key":
                return self._new(op.WORDS, (self._true(node[1]),))
            case "real_key":
                return self._new(op.REAL_KEY, (self._rows(self._value(node[1])), 0))
            case "int":
                return self._integer(node[1])
            case "real":
                return self._constant(op.REAL, node[1])
            case "add" | "sub" | "mul":
                return self._two(_WORDS[node[0]], self._value(node[1]), self._value(node[2]))
            case "fadd" | "fsub" | "fmul":
                left, right = self._rows(self._value(node[1])), self._rows(self._value(node[2]))
                return self._new(_REALS[node[0]], (left, right))
            case "neg":
                return self._two(op.SUB, self._literal(0), self._value(node[1]))
            case "fneg":
                return self._new(op.NEGATE_REAL, (self._rows(self._value(node[1])), 0))
            case "times":
                return self._two(op.MUL, self._value(node[1]), self._literal(node[2]))
            case "fit":
                return self._value(node[1])
            case "bucket":
                value = self._two(op.SUB, self._value(node[1]), self._integer(node[3]))
                return self._quotient(op.DIVIDE, value, self._integer(node[2]))
            case "floor":
                return self._quotient(op.DIVIDE, self._value(node[1]), self._literal(node[2]))
            case "modulo":
                return self._remainder(op.DIVIDE, self._value(node[1]), self._literal(node[2]))
            case "quotient":
                return self._quotient(op.TRUNCATE, self._value(node[1]), self._integer(node[2]))
            case "remainder":
                return self._remainder(op.TRUNCATE, self._value(node[1]), self._integer(node[2]))
            case "plus":
                return self._two(op.ADD, self._value(node[1]), self._literal(node[2]))
            case "months" | "month_day" | "abs":
                what = {"months": op.MONTHS, "month_day": op.MONTH_DAY, "abs": op.ABS}[node[0]]
                return self._new(what, (self._rows(self._value(node[1])), 0))
            case "to_real":
                found = self._new(op.TO_REAL, (self._rows(self._value(node[1])), 0))
                if node[2] == 1:
                    return found
                divisor = int(np.array(node[2], np.float64).view(np.int64))
                return self._new(op.DIVIDE_REALS, (found, self._rows(self._literal(divisor))))
            case "case" | "fcase":
                found = self._value(node[2])
                for test, then in reversed(node[1]):
                    found = self._choice(self._true(test), self._value(then), found)
                return found
            case "coalesce" | "fcoalesce":
                *others, last = node[1]
                found = self._value(last)
                for part in reversed(others):
                    value, null = self._value(part), self._null(part)
                    found = value if null is None else self._choice(null, found, value)
                return found
            case _:
                raise NotCovered(f'no program has the value "{node[0]}"')

    def _null_of(self, node: Node) -> int | None:
        match node[0]:
            case "text":
                return self._new(op.IS, (self._of_text(node),), (2,))
            case "not" | "truth_key" | "real_key":
                return self._null(node[1])
            case "and" | "or":
                # NULL where nothing decides it, and something is NULL.
                decides = self._true if node[0] == "or" else self._false
                unknown = self._any([null for part in node[1] if (null := self._null(part)) is not None])
                return self._new(op.AND_NOT, (unknown, self._any([decides(part) for part in node[1]])))
            case "case" | "fcase":
                found = self._null_or_not(node[2])
                for test, then in reversed(node[1]):
                    parts = (self._null_or_not(then), found, self._true(test))
                    found = self._new(op.CHOOSE_TRUTHS, parts)
                return found
            case "coalesce" | "fcoalesce":
                return self._every([self._null_or_not(part) for part in node[1]])
            case _:
                parts = [part for part in node[1:] if isinstance(part, tuple) and part]
                return self._any([null for part in parts if (null := self._null(part)) is not None])

    def _true_of(self, node: Node) -> int:
        match node[0]:
            case "flag":
                found = self._two(op.DIFFERENT, self._read(node[1]), self._literal(0))
                return self._without(found, self._null(node))
            case "known":
                return self._constant(op.KNOWN, node[1])
            case "text":
                return self._new(op.IS, (self._of_text(node),), (1,))
            case "and":
                return self._every([self._true(part) for part in node[1]])
            case "or":
                return self._any([self._true(part) for part in node[1]])
            case "not":
                return self._false(node[1])
            case "is_true":
                return self._true(node[1])
            case "is_null":
                return self._null_or_not(node[1])
            case "partner":
                probe = self._shape.probes[node[1]]
                found = self._has_partner(probe)
                if probe.keeps == "inner":
                    return found
                missing = self._null(node[2]) if probe.keeps == "absent" else None
                return self._without(self._not(found), missing)
            case "compare":
                return self._without(
                    self._compared(node[1], self._value(node[2]), self._value(node[3])), self._null(node)
                )
            case "fcompare":
                return self._without(self._compared_reals(node), self._null(node))
            case "in":
                value = self._value(node[1])
                found = self._any([self._compared("==", value, self._integer(number)) for number in node[2]])
                return self._without(found, self._null(node))
            case _:
                raise NotCovered(f'no program has the truth "{node[0]}"')

    def _compared(self, operator: str, left: int, right: int) -> int:
        turned = self._is_one(left) if self._is_one(left) != self._is_one(right) else operator in (">", ">=")
        if turned and not (self._is_one(left) and self._is_one(right)):
            left, right, operator = right, left, _TURNED.get(operator, operator)
        return self._two(_COMPARED[operator], left, right)

    def _compared_reals(self, node: Node) -> int:
        """NaN equals itself and is greater than all else."""
        operator, sides = node[1], (self._rows(self._value(node[2])), self._rows(self._value(node[3])))
        match operator:
            case "==":
                return self._new(op.EQUAL_REALS, sides)
            case "!=":
                return self._not(self._new(op.EQUAL_REALS, sides))
            case "<" | ">":
                return self._new(op.LESS_REALS, sides if operator == "<" else sides[::-1])
            case _:
                return self._new(op.LESS_EQUAL_REALS, sides if operator == "<=" else sides[::-1])

    def _of_text(self, node: Node) -> int:
        """0, 1, or 2 for NULL. The table begins with what it is for NULL."""
        slot = node[1]
        valid = self._valid(slot) if self._shape.slots[slot] else 0
        return self._new(op.TEXT, (self._read(slot), valid), (self._table(node[2]),))

    # Columns.

    def _read(self, slot: int) -> int:
        found = self._remembered("words", slot, self._read_of)
        assert found is not None, "a column is there"
        return found

    def _valid(self, slot: int) -> int:
        found = self._remembered("valid", slot, self._valid_of)
        assert found is not None, "it is said of a column where it has values"
        return found

    def _read_of(self, slot: int) -> int:
        if slot not in self._joined:
            return self._new(op.READ, (), (2 + 4 * slot,))
        probe, place = self._joined[slot]
        argument = probe.argument + 3 + 3 * len(probe.keys) + 2 * place
        return self._new(op.SIDE_WORDS, (self._partner(probe), 0), (argument,))

    def _valid_of(self, slot: int) -> int:
        if slot not in self._joined:
            return self._new(op.READ_VALID, (), (2 + 4 * slot,))
        probe, place = self._joined[slot]
        argument = probe.argument + 3 + 3 * len(probe.keys) + 2 * place + 1
        return self._new(op.SIDE_TRUTHS, (self._partner(probe), 0), (argument,))

    def _table(self, table: int) -> int:
        """Where a piece has the address of a dictionary's table."""
        return 2 + 4 * len(self._shape.slots) + table

    def _partner(self, probe: Probe) -> int:
        """The places of rows' partners."""
        packed, outside = self._packed(probe)
        if not probe.hashed:
            return self._new(op.RANKED, (packed, 0), (probe.argument,))
        return self._new(op.LOOKED_UP, (packed, outside), (probe.argument,))

    def _has_partner(self, probe: Probe) -> int:
        if probe.hashed:
            return self._compared("!=", self._partner(probe), self._integer(probe.argument + 2))
        return self._new(op.HAS_BIT, (self._packed(probe)[0], 0), (probe.argument,))

    def _packed(self, probe: Probe) -> tuple[int, int]:
        """A row's key as one integer, and whether it can be no key of the side: of bits, it has none then."""
        terms: list[int] = []
        outside: list[int] = []
        for number, key in enumerate(probe.keys):
            low, size, stride = (self._integer(probe.argument + 3 + 3 * number + part) for part in range(3))
            part = self._two(op.SUB, self._value(key), low)
            if (missing := self._null(key)) is not None:
                outside.append(missing)
            if probe.hashed or len(probe.keys) > 1:
                outside.append(self._two(op.BEYOND, self._rows(part), size))
            terms.append(part if len(probe.keys) == 1 else self._two(op.MUL, part, stride))
        packed, none = self._rows(self._sum(terms)), self._any(outside) if outside else 0
        if none and not probe.hashed:
            packed = self._choice(none, self._integer(probe.argument + 1), packed)
        return packed, none

    # Instructions.

    def _remembered(self, kind: str, of: Any, make: Any) -> int | None:
        """What is computed of a node or slot, once for the rows that are left."""
        key = (kind, of)
        if key not in self._known:
            whole = self._whole.get(key)
            if whole is None or whole in self._constants.values():
                self._known[key] = make(of) if whole is None else whole
            else:
                truths = self._holds_truths(whole)
                self._known[key] = self._new(op.AGAIN_TRUTHS if truths else op.AGAIN, (whole,))
        return self._known[key]

    def _new(self, what: int, sources: tuple[int, ...], rest: tuple[int, ...] = ()) -> int:
        """What an instruction gives, which is written where the same one was not."""
        key = (what, sources, rest)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._made = self._made + 1
            self._what[found] = what
            self._lines.append(_Line(what, found, sources, rest))
        return found

    def _constant(self, what: int, of: int) -> int:
        found = self._constants.get((what, of))
        if found is None:
            found = self._constants[what, of] = self._made = self._made + 1
            self._what[found] = what
            self._once.append(_Line(what, found, *(((of,), ()) if what == op.SPREAD else ((), (of,)))))
        return found

    def _integer(self, number: int) -> int:
        return self._constant(op.INTEGER, number)

    def _literal(self, value: int) -> int:
        return self._constant(op.LITERAL, value)

    def _always(self, truth: bool) -> int:
        return self._constant(op.ALWAYS, int(truth))

    def _is_one(self, buffer: int) -> bool:
        return self._what[buffer] in (op.LITERAL, op.INTEGER, op.REAL)

    def _holds_truths(self, buffer: int) -> bool:
        return self._what[buffer] in _TRUTHS

    def _rows(self, buffer: int) -> int:
        """A word for each row."""
        return self._constant(op.SPREAD, buffer) if self._is_one(buffer) else buffer

    def _two(self, what: int, left: int, right: int) -> int:
        """Of two words, the second of which may be the same for all rows."""
        if self._is_one(left) and not self._is_one(right) and what in (op.ADD, op.MUL):
            left, right = right, left
        return self._new(what, (self._rows(left), right), (int(self._is_one(right)),))

    def _quotient(self, what: int, value: int, divisor: int) -> int:
        return self._new(what, (self._rows(value), divisor))

    def _remainder(self, what: int, value: int, divisor: int) -> int:
        return self._two(op.SUB, value, self._two(op.MUL, self._quotient(what, value, divisor), divisor))

    def _choice(self, truth: int, then: int, otherwise: int) -> int:
        return self._new(op.CHOOSE, (self._rows(then), self._rows(otherwise), truth))

    def _every(self, truths: Sequence[int]) -> int:
        return self._chain(op.AND, truths, True)

    def _any(self, truths: Sequence[int]) -> int:
        return self._chain(op.OR, truths, False)

    def _chain(self, what: int, truths: Sequence[int], empty: bool) -> int:
        found = truths[0] if truths else self._always(empty)
        for truth in truths[1:]:
            found = self._new(what, (found, truth))
        return found

    def _without(self, truth: int, null: int | None) -> int:
        if null is None:
            return truth
        there = self._negated.get(null)
        return self._new(op.AND_NOT, (truth, null)) if there is None else self._new(op.AND, (truth, there))

    def _not(self, truth: int) -> int:
        found = self._negated.get(truth)
        if found is None:
            found = self._new(op.NOT, (truth,))
            self._negated[found] = truth
        return found

    def _null_or_not(self, node: Node | None) -> int:
        null = self._null(node)
        return self._always(False) if null is None else null

    # Places of buffers.

    def _placed(self) -> np.ndarray:
        """The program. Buffers have places until they are read for the last time; those of constants always."""
        chunk = -(-self._chunk // 64) * 64
        lines = [*self._once, *self._lines]
        last = {source: at for at, line in enumerate(lines) for source in line.sources}
        constants = set(self._constants.values())
        places, sizes = {0: 0}, dict[int, int]()
        free: dict[int, list[int]] = {}
        end = 64  # no buffer is at 0
        rows = np.zeros((1 + len(lines), op.WIDTH), np.int64)
        for at, line in enumerate(lines):
            if line.out:
                size = 64 if self._is_one(line.out) else chunk if self._holds_truths(line.out) else 8 * chunk
                there = free.setdefault(size, [])
                if not there:
                    there.append(end)
                    end += size
                places[line.out], sizes[line.out] = there.pop(), size
            for source in {*line.sources, line.out} - constants - {0}:
                if last.get(source, at) <= at:
                    free[sizes[source]].append(places[source])
            words = [line.what, places[line.out], *(places[source] for source in line.sources), *line.rest]
            rows[1 + at, : len(words)] = words
        chosen, spare = end, end + 8 * chunk + 64
        rows[0, 2:6] = spare + 9 * chunk + 128, self._chunk, chosen, spare
        return rows
