"""`make demo`: real speech through the real platform, judged at the end.

The speech is synthetic (flite) and the recogniser offline (pocketsphinx, behind the
Deepgram emulator): nothing leaves the machine and no account is needed.
"""
