"""``pc``: pyarrow.compute. It makes its functions at import and type checkers see none of them; hence Any, once."""

from __future__ import annotations

from typing import Any, Final

import pyarrow.compute

pc: Final[Any] = pyarrow.compute
