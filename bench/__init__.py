"""The benchmark: ours against a full refresh, the old application's way and dbt, on the same data in one run.

`python -m bench` measures, prints and writes; nothing of the package is changed by it. Goals that depend on time are
judged here and never in the tests.
"""
