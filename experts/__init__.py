"""Experts: engines hosted by us, elsewhere or recorded, each behind the OpenAI HTTP contract. Knows no routing."""
