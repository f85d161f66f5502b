"""News articles in the CNN/DM evaluation format: the query, and how long it may be.

The reward models of the N+ paper are trained on Reddit posts and evaluated on CNN/DM as well (details 4, 5 and
16). A query is

    Article:
    <article>
    <blank>
    TL;DR:

without anything after the colon; the summary that follows starts with one space, as in the Reddit format. It
may be 1,919 tokens long: 2,047 positions less the 128 of a response. The article alone is cut, by the rule of
the posts: at its last newline while the query is too long, then a character at a time.

Source: "The N+ Implementation Details of RLHF with PPO" (arXiv 2403.17031), details 2 and 4. Left out: the
environment (nobody trains on these).
"""

from __future__ import annotations

from envs.text.row_values import Unusable
from envs.text.truncation import CountTokens, cut_to_budget

MAX_QUERY_TOKENS = 2047 - 128


def article_query(article: str) -> str:
    """The query of the module's page; nothing is cut here."""
    return f"Article:\n{article}\n\nTL;DR:"


def article_query_within(article: str, count_tokens: CountTokens, budget: int = MAX_QUERY_TOKENS) -> str:
    """The query of what the budget leaves of ``article``; ``Unusable`` where nothing would be left."""
    kept = cut_to_budget(article, lambda part: count_tokens(article_query(part)) <= budget)
    if kept is None or not kept.strip():
        raise Unusable("the query does not fit its budget even without the article")
    return article_query(kept)
