"""README's table of what fits is what the planner says."""

from readme_fits import README, written


def test_readme_says_what_the_plan_says() -> None:
    readme = README.read_text(encoding="utf-8")
    assert written(readme) == readme, "python tests/readme_fits.py"
