"""Numbers for pictures that no judge gives: a Python function, a CLIP-style model, text that is read, a server.

A scorer is a point protocol (`reward.protocols.PointProtocol`) that asks no judge: it goes wherever one does, alone
(`reward=score`), in a combined reward, or as a measure. Its grades are in its own unit.
"""
