"""Models: `torch.nn.Module` and who owns which rows of them.

`moe` has the parts of our own models, `classifier` and `language` the models, `layout`
which tensors of any module have a row for each expert, `expert_model` how a module runs
with only some experts, and `build` how settings name one.
"""
