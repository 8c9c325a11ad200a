"""In which words is something said to people?"""

from sundog.kernel.wording import did_you_mean, printable, reason_of, with_article


def test_nothing_alike_lists_what_there_is() -> None:
    assert did_you_mean("zebra", ["mean", "median"]) == "; there is mean, median"
    assert did_you_mean("meen", ["mean", "Median"]) == "; did you mean 'mean'?"
    assert did_you_mean("MEDIAN", ["mean", "Median"]) == "; did you mean 'Median'?"
    assert did_you_mean("x", []) == ""


def test_a_name_has_its_article() -> None:
    assert (with_article("Filter"), with_article("Aggregator")) == ("a Filter", "an Aggregator")


def test_control_characters_are_shown_and_not_obeyed() -> None:
    assert printable("a\x1b[2Jb\nc") == "a\\x1b[2Jb\\nc"
    assert printable("a\x1b\nc", keep="\n") == "a\\x1b\nc"


def test_the_systems_own_words_are_told_where_there_are_some() -> None:
    assert reason_of(OSError(28, "No space left on device")) == "No space left on device"
    assert reason_of(OSError("odd")) == "odd"
