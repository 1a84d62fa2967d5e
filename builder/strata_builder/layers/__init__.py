"""Layers: trees become tar, tar becomes trees, and two trees become the difference between them.

To write a layer: `pack` (whose bytes `tarheader` and `compress` make and `pipeline` moves). To read one: `unpack` (over
`decompress` and `tarreader`), which writes through `restore`. To find what a command changed: `diff` (over `walk`).
`index` is a layer's table of contents; `folders` reaches paths below a root without ever following a link,
`following` follows links by name, inside a root.
"""
