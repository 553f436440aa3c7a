"""Pages of explanations, word for word."""

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
    assert _page(al.explain(PROBLEM, result, **about), result) == PAGES[page].strip("\n")


def test_what_is_not_exact_names_no_exchange():
    problem = PROBLEM.replace(resources={"mb": al.Resource([1, 2, 3], [3, 1, 3])})
    result = al.solve(problem, "scipy-milp")
    lines = _page(al.explain(problem, result, client="ann"), result).splitlines()
    rows = [line for line in lines if line.startswith("expert '")]
    assert len(rows) == 3
    assert all(" ?" in row and "expert '" not in row[8:] for row in rows)


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
