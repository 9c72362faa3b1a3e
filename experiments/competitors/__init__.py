"""What a user would pick instead of opnet, one a file, and opnet as a user writes it.

`train(problem)` makes ready and returns a call that trains from the start weights and gives the
Histories; `predict(problem)` one that gives the outputs for X. `Unfit` says why one of them cannot.
"""
