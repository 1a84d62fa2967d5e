"""Deliveries of forges and of managed registries: hints to look now, taken from whoever can prove that he may give them.

::

    forge ------> listener.py: few connections, short ones
    registry --->   receiver.py: limits.py (replicas.py: not again for what another operator passes on), then
                      not the operator that acts? -> forward.py: to the one that does
                      body.py: a forge's is hashed as it comes, at most some MiB; never parsed, never kept
                      signatures.py (pure) with the token of tokens.py: who signed it? a registry's head tells
                      deliveries.py (pure): does it tell of a push?
                      envelopes.py (pure): what was pushed to a registry
                    -> controller.Hints: look at this source, at this base image

A hint starts no build and is kept nowhere: the source is looked at, as it is from time to time anyway.
"""
