"""Recipes that train the models and adapters of this project.

Only `palaver_adapters.training.texts` and `.data` run without the extra `train`
(`pip install './adapters[train]'` in a checkout), which brings torch, transformers and PEFT.
"""
