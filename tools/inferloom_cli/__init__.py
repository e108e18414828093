"""The ``inferloom`` command.

``__main__`` is the entry, ``main`` declares the commands and imports what one needs only when it runs;
``supervisor`` and its neighbours keep the processes of ``inferloom up``; the rest is one file a command.
"""
