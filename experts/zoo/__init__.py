"""The zoo: small experts trained here, so that anybody without a GPU sees a real symposium.

Owns tasks, tokenizer, training, weights and model cards. May import torch, transformers, tokenizers,
safetensors and rich; must not know the router, the serving engine or whatever starts it.
"""
