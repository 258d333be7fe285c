defmodule ErlangPython.Worker.Printing do
  @moduledoc false
  # What a worker's Python writes to its descriptors and its log, on its way to the Logger: bounded, because
  # neither a port nor the Logger makes Python wait.

  alias ErlangPython.Worker.{LogRecord, Output, Printer}

  # Bytes that may wait to be logged.
  @printing_limit 1_000_000
  # And packets of output, of up to 64 KiB, that may wait to be looked at.
  @packets_limit 32

  # `waiting`: bytes that the printer has; `unlogged`: records of Python's logging that were left out.
  defstruct output: Output.new(), printer: nil, waiting: 0, unlogged: 0

  @type t :: %__MODULE__{
          output: Output.t(),
          printer: pid() | nil,
          waiting: integer(),
          unlogged: non_neg_integer()
        }

  @spec new() :: t()
  def new, do: %__MODULE__{}

  @doc "For a new OS process. `nil`: nothing is to be logged."
  @spec start(t(), keyword() | nil) :: t()
  def start(printing, nil), do: %{printing | output: Output.new(), printer: nil}

  def start(printing, metadata),
    do: %{printing | output: Output.new(), printer: Printer.start(metadata)}

  @doc "Bytes that were written to a descriptor, or printed by a request that nobody waits for."
  @spec write(t(), binary()) :: t()
  def write(printing, bytes) do
    {lines, output} = Output.add(printing.output, bytes, behind?(printing))
    print(%{printing | output: output}, lines)
  end

  @doc "A record of Python's logging, of `size` bytes."
  @spec log(t(), LogRecord.t(), caller :: pid() | nil, size :: non_neg_integer()) :: t()
  def log(%{printer: nil} = printing, _record, _caller, _size), do: printing

  def log(printing, record, caller, size) do
    if behind?(printing) do
      %{printing | unlogged: printing.unlogged + 1}
    else
      printing = print(printing, LogRecord.unlogged(printing.unlogged))
      Printer.log(printing.printer, record, caller, size)
      %{printing | waiting: printing.waiting + size, unlogged: 0}
    end
  end

  @doc "The printer has logged so many bytes."
  @spec printed(t(), non_neg_integer()) :: t()
  def printed(printing, size), do: %{printing | waiting: printing.waiting - size}

  @doc "The last lines, for the error that tells of its end."
  @spec last(t()) :: [String.t()]
  def last(printing), do: Output.last(printing.output)

  # Lines that nobody reads are not worth taking apart.
  defp behind?(%{printer: nil}), do: true

  # The printer with the Logger, or this process with taking lines apart.
  defp behind?(%{waiting: waiting}) do
    {:message_queue_len, messages} = Process.info(self(), :message_queue_len)
    waiting > @printing_limit or messages > @packets_limit
  end

  defp print(printing, []), do: printing

  defp print(printing, lines) do
    size = lines |> Enum.map(&(byte_size(&1) + 1)) |> Enum.sum()
    Printer.print(printing.printer, lines, size)
    %{printing | waiting: printing.waiting + size}
  end
end
