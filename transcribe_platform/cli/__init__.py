"""The command line ``transcribe``: a person's or a script's way to the platform.

Built on ``transcribe_platform.client``; imports nothing else of the platform's.
"""
