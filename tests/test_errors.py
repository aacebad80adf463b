"""The exception tree."""

from weftdb.base import errors


def test_every_error_is_a_weft_error_with_a_five_character_sqlstate() -> None:
    for error in errors.ERRORS:
        assert issubclass(error, errors.WeftError)
        assert len(error("message").sqlstate) == 5


def test_nearest_names_a_close_candidate_and_nothing_else() -> None:
    assert errors.nearest("housold_id", ["household_id", "basket_id"]) == 'Did you mean "household_id"?'
    assert errors.nearest("zzz", ["household_id"]) is None
