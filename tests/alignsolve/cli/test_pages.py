"""Pages of explanations, word for word."""

import numpy as np
import pytest

import alignsolve as al
from alignsolve.cli.explain import _page

PROBLEM = al.AlignmentProblem(
    [[6, 3, 1], [4, 2, 0], [3, 3, 2]], 1, min_experts=1, load_max=1,
    client_ids=["ann", "bob", "cy"], expert_ids=["x", "y", "z"])


@pytest.mark.parametrize(("about", "page"), [
    ({"client": "cy"}, 0), ({"expert": "y"}, 1), ({}, 2),
])
def test_pages(about, page):
    result = al.solve(PROBLEM, "ortools-mcf")
    assert _page(al.explain(PROBLEM, result, **about)) == PAGES[page].strip("\n")


def test_what_is_not_exact_is_marked_until_it_is_settled():
    problem = PROBLEM.replace(resources={"mb": al.Resource([1, 2, 3], [3, 1, 3])})
    result = al.solve(problem, "scipy-milp")
    estimated = _page(al.explain(problem, result, client="ann"))
    rows = [line for line in estimated.splitlines() if line.startswith("expert '")]
    assert len(rows) == 3
    assert all("~" in row for row in rows)
    assert "~: an estimate; exact=True, or --exact, settles it" in estimated
    for about in ({"client": "ann"}, {"expert": "x"}, {}):
        page = _page(al.explain(problem, result, **about))
        settled = _page(al.explain(problem, result, exact=True, time_limit=1000, **about))
        assert "?" not in page + settled
        assert "~" not in settled and "note:" not in settled


@pytest.mark.parametrize(("about", "text"), [
    ({"client": "cy"}, "cy trains z.\ny would suit it better by 1 in fitness, but its only place "
                       "went to clients who gain at least 1 more.\nx would suit it better by 1 in "
                       "fitness, but its only place went to clients who gain at least 4 more."),
    ({"expert": "y"}, "y is trained by 1 client; at most 1 may.\n"
                      "0 clients would choose it if places did not matter.\n"
                      "One more place would be worth 1, and go to cy."),
    ({}, "To share the experts out, the clients give up 3, 23.1% of it all.\n"
         "1 of 3 clients has what suits them best; no client gives up more than 2.\n"
         "One more place with x would be worth 3.\nOne more place with y would be worth 1."),
])
def test_owners_read_sentences(about, text):
    result = al.solve(PROBLEM, "ortools-mcf")
    assert al.explain(PROBLEM, result, **about).text("owner") == text


def test_owners_hear_why_and_in_round_numbers():
    problem = al.AlignmentProblem(
        [[0.913, 0.52, 0.48, 0.9], [0.87, 0.52, 0.51, -np.inf], [0.92, 0.3, 0.3, 0.2]], [2, 2, 1],
        load_max=[1, 3, 3, 3], resources={"memory_mb": al.Resource([1, 1, 1, 5], 2)})
    found = al.explain(problem, al.solve(problem), client=0, exact=True, time_limit=1000)
    # In place of expert 2: 0.913 - 0.48. Client 2 would lose 0.92 for 0.3: 0.62, 0.187 more.
    assert found.text("owner").splitlines() == [
        "Client 0 trains experts 1 and 2.",
        "Expert 0 would suit it better by 0.43 in fitness, but its only place is taken; giving it "
        "away would cost all together at least 0.18.",
        "Without its limit on memory_mb all together would gain 0.42 in fitness.",
    ]
    with pytest.raises(al.ProblemError, match="audience is 'judge'"):
        al.explain(problem, al.solve(problem), client=0).text("judge")


def test_owners_do_not_hear_of_gains_that_others_lose():
    # c could take k for j, worth 0.1 less, but then d loses 10 and not c: i costs all of them 9.6.
    inf = np.inf
    problem = al.AlignmentProblem(
        [[0.1, 0, -inf], [-inf, 10, -inf], [0.5, -inf, 0]], 1, min_experts=[1, 0, 1], load_max=1,
        client_ids=list("cdi"), expert_ids=list("jkl"))
    text = al.explain(problem, al.solve(problem), client="i").text("owner")
    assert ("j would suit it better by 0.5 in fitness, but its only place is taken; giving it away "
            "would cost all together at least 9.6.") in text


@pytest.mark.parametrize("more", [{}, {"resources": {"r": al.Resource([1, 1], [9, 1])}}])
def test_an_expert_out_of_reach_may_need_one_place_more(more):
    problem = al.AlignmentProblem([[1, -np.inf], [5, 0]], 1, min_experts=[1, 0], load_max=[1, 2],
                                  **more)
    found = al.explain(problem, al.solve(problem), client=1, exact=True, time_limit=1000)
    part = found.alternatives[-1]
    assert (part.expert, part.missing, part.exact) == (0, np.inf, True)
    assert (part.slot_suffices, part.slot_exact, found.exact) == (True, True, True)
    assert part.text.endswith("; no answer with this pair exists, but one does with one more slot "
                              "for the expert")
    text = found.text("owner")
    assert "No other expert" not in text
    assert text.endswith("Expert 0 would suit it better by 5 in fitness, but no plan within all "
                         "limits gives it that one.")


PAGES = (
    """
client 'cy' holds expert 'z', worth 2
alone it could have 3; it forgoes 1 for the others
one more slot would be worth 0
expert            value  price  changes beyond  exchanged for  with one slot
expert 'z'  held      2      0               1     expert 'y'
expert 'y'            3      1               1     expert 'z'            yes
expert 'x'            3      3               4     expert 'z'             no
""",
    """
expert 'y' has 1 holder, 0 to 1 allowed; 0 would hold it if loads did not matter
price of a holder: 1
one more slot would be worth 1, and go to client 'cy'
one slot fewer would leave no answer
client                  value  changes beyond
client 'bob'  holds it      2               1
client 'ann'  does not      3               1
client 'cy'   does not      3               1
""",
    """
objective 10; the pairs are worth 10
without bounds and penalties of loads they could be worth 13
price of balance: 3, 23.08% of it
one more slot for a client would be worth 0 to 0, on average 0
expert      holders  allowed  price  one slot more  one needed less
expert 'x'        1   0 to 1      3              3                0
expert 'y'        1   0 to 1      1              1                0
expert 'z'        1   0 to 1      0              0                0
""",
)
