import os
import signal
import threading

import pytest

from minillm.interruption import Interruption


def test_the_first_signal_asks_and_the_second_interrupts():
    before = signal.getsignal(signal.SIGINT)
    with Interruption() as ask:
        assert not ask.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert ask.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_can_enter():
    seen = []

    def work():
        with Interruption() as ask:
            seen.append(ask.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
