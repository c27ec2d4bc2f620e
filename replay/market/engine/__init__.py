"""
An exchange in exact integers: single orders, books, accounts and their rules, which says typed facts and knows no venue.

Who trades in it is not its business: a random crowd, known accounts, or a test. A venue writes its facts in its own words.
"""
