"""How a stage is run: serial, thread, process. One protocol, one contract suite, no knowledge of any stage."""

from batchproc.executors.child import keep_freed_memory
from batchproc.executors.process import ProcessExecutor
from batchproc.executors.serial import SerialExecutor
from batchproc.executors.thread import ThreadExecutor
from batchproc.executors.worker import start_context
from batchproc.protocols import Executor

__all__ = ["Executor", "ProcessExecutor", "SerialExecutor", "ThreadExecutor", "keep_freed_memory", "start_context"]
