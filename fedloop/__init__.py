"""Federated training of mixture-of-experts models, to see what alignment is worth.

`fedloop.train.train` plays the rounds; `fedloop.config.Config` has every setting.
"""
