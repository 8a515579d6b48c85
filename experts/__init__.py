"""Experts, hosted by us, elsewhere or recorded, behind one OpenAI HTTP contract. Knows no routing."""
