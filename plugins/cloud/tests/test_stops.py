import itertools

from hypothesis import given
from hypothesis import strategies as st

from palaver_cloud.stops import Stops

texts = st.text("ab\n ", max_size=12)


@given(
    text=texts,
    cuts=st.lists(st.integers(0, 12), max_size=6),
    strings=st.lists(st.text("ab\n", min_size=1, max_size=3), min_size=1, max_size=3),
)
def test_a_reply_ends_at_the_first_whole_stop_string(
    text: str, cuts: list[int], strings: list[str]
) -> None:
    """However a reply is cut into pieces, it ends at the same place as the whole one."""
    stops = Stops(strings)
    places = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    pieces = [text[a:b] for a, b in itertools.pairwise(places)]
    said = "".join(map(stops.feed, pieces)) + stops.end()
    begun = len(text) - len(text.lstrip())
    ends = [(place + len(one), place) for one in strings if (place := text.find(one, begun)) >= 0]
    assert said == text[: min(ends)[1] if ends else len(text)]
    assert stops.found == bool(ends)


def test_nothing_is_held_back_without_need() -> None:
    """What cannot begin a stop string passes at once."""
    stops = Stops(["Anna:"])
    assert [stops.feed(piece) for piece in ("Hello A", "nn", "a.", " Bye")] == [
        *("Hello ", "", "Anna.", " Bye")
    ]
    assert not Stops([])
