"""`make demo`: real speech through the whole platform, with a verdict.

The speech is synthetic (flite) and the recogniser offline (pocketsphinx, behind the
Deepgram emulator): nothing leaves the machine and no account is needed.
"""
