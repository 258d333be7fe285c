defmodule ErlangPython.Worker.Printing do
  @moduledoc false
  # What a worker's Python writes to its descriptors and its log, on its way to the Logger: bounded, because
  # neither a port nor the Logger makes Python wait.

  alias ErlangPython.Worker.{LogRecord, Output, Printer}

  # Bytes that may wait to be logged.
  @printing_limit 1_000_000
  # And to be looked at, where each message that waits is taken to be as long as the one at hand: a packet of output
  # may have 64 KiB or a few bytes. So many messages in any case, which take memory by themselves.
  @unread_limit 2_000_000
  @most_unread 10_000

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
    {lines, output} = Output.add(printing.output, bytes, behind?(printing, byte_size(bytes)))
    print(%{printing | output: output}, lines)
  end

  @doc "A record of Python's logging, of `size` bytes, with the metadata of its request's caller."
  @spec log(t(), LogRecord.t(), caller :: map(), size :: non_neg_integer()) :: t()
  def log(%{printer: nil} = printing, _record, _caller, _size), do: printing

  def log(printing, record, caller, size) do
    if behind?(printing, size) do
      %{printing | unlogged: printing.unlogged + 1}
    else
      printing = tell_unlogged(printing)
      Printer.log(printing.printer, record, caller, size)
      %{printing | waiting: printing.waiting + size}
    end
  end

  @doc "The printer has logged so many bytes."
  @spec printed(t(), non_neg_integer()) :: t()
  def printed(printing, size) do
    case %{printing | waiting: printing.waiting - size} do
      # What was left out is told when all else is logged, if nothing comes by then.
      %{waiting: 0} = printing -> printing |> write("") |> tell_unlogged()
      printing -> printing
    end
  end

  @doc "Nothing will come any more: logs what was written without the end of a line, and what is to be told."
  @spec finish(t()) :: t()
  def finish(%{printer: nil} = printing), do: printing

  def finish(printing) do
    {lines, output} = Output.finish(printing.output)
    print(tell_unlogged(%{printing | output: output}), lines)
  end

  defp tell_unlogged(printing),
    do: print(%{printing | unlogged: 0}, LogRecord.unlogged(printing.unlogged))

  @doc "The last lines, for the error that tells of its end."
  @spec last(t()) :: [String.t()]
  def last(printing), do: Output.last(printing.output)

  # Lines that nobody reads are not worth taking apart.
  defp behind?(%{printer: nil}, _size), do: true

  # The printer with the Logger, or this process with taking apart what comes.
  defp behind?(%{waiting: waiting}, size) do
    {:message_queue_len, messages} = Process.info(self(), :message_queue_len)

    waiting > @printing_limit or messages > @most_unread or
      messages * size > @unread_limit
  end

  defp print(printing, []), do: printing

  defp print(printing, lines) do
    size = lines |> Enum.map(&(byte_size(&1) + 1)) |> Enum.sum()
    Printer.print(printing.printer, lines, size)
    %{printing | waiting: printing.waiting + size}
  end
end
