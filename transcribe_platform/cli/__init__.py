"""The command line `transcribe`.

Built on ``transcribe_platform.client``; imports nothing else of the platform.
"""
