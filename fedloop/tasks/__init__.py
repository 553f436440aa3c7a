"""What is learned: images to be classified, or text to be predicted byte by byte.

`base` has the protocol and what clients' examples are; `images` and `text` fulfil it.
"""
