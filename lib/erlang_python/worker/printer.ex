defmodule ErlangPython.Worker.Printer do
  @moduledoc false
  # Logs what a worker's Python prints. In a process of its own, because the Logger makes whoever logs
  # a lot wait for it, and a worker has deadlines to keep.
  #
  # It tells its worker what it has logged, and the worker leaves out what it is too far behind with:
  # ports know no back pressure, and the mailbox of either would fill the memory. It ends after its
  # worker, when everything is logged.

  alias ErlangPython.Worker.LogRecord

  require Logger

  @doc "Starts the printer of the calling process."
  @spec start(metadata :: keyword()) :: pid()
  def start(metadata), do: :proc_lib.spawn(__MODULE__, :init, [self(), metadata])

  @doc "`size` comes back as `{:printed, size}`."
  @spec print(pid(), [String.t()], size :: non_neg_integer()) :: term()
  def print(printer, lines, size), do: send(printer, {:print, lines, size})

  @doc "Logs a record of Python's logging, with the metadata of the caller whose request logged it. `size` comes back."
  @spec log(pid(), LogRecord.t(), caller :: map(), size :: non_neg_integer()) :: term()
  def log(printer, record, caller, size), do: send(printer, {:log, record, caller, size})

  @doc false
  def init(worker, metadata) do
    Process.monitor(worker)
    __MODULE__.loop(worker, metadata)
  end

  # Exported, and always called so: after each message the newest code that is loaded goes on.
  @doc false
  @spec loop(pid(), keyword()) :: :ok
  def loop(worker, metadata) do
    receive do
      {:print, lines, size} ->
        Enum.each(lines, &Logger.info(&1, metadata))
        send(worker, {:printed, size})
        __MODULE__.loop(worker, metadata)

      {:log, record, caller, size} ->
        LogRecord.log(record, caller, metadata)
        send(worker, {:printed, size})
        __MODULE__.loop(worker, metadata)

      {:DOWN, _ref, :process, ^worker, _reason} ->
        :ok
    end
  end
end
