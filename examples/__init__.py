"""Small programs that do something true; `tests/test_examples.py` runs them."""
