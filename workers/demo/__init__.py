"""`make demo`: transcribes real speech with the whole platform and checks the results.

The speech is synthetic (flite) and the recognizer offline (pocketsphinx, behind the
Deepgram emulator): nothing leaves the machine and no account is needed.
"""
