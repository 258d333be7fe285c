defmodule ErlangPython.Worker.LogRecord do
  @moduledoc false
  # A record of Python's `logging`, as the Logger gets it.

  alias ErlangPython.MessagePack

  # Where OTP keeps what `Logger.metadata/1` sets.
  @metadata :"$logger_metadata$"

  @enforce_keys [:level, :logger, :message, :file, :line, :function]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          level: Logger.level(),
          logger: String.t(),
          message: String.t(),
          file: String.t(),
          line: non_neg_integer(),
          function: String.t() | nil
        }

  @spec decode(binary()) :: {:ok, t()} | :error
  def decode(body) do
    case MessagePack.decode(body) do
      {:ok, [level, logger, message, file, line, function, exception]}
      when is_number(level) and is_binary(logger) and is_binary(message) ->
        {:ok,
         %__MODULE__{
           level: level(level),
           logger: logger,
           message: text(message, exception),
           file: file,
           line: line,
           function: function
         }}

      _other ->
        :error
    end
  end

  # Python's levels are numbers, with names at the tens.
  defp level(number) when number >= 50, do: :critical
  defp level(number) when number >= 40, do: :error
  defp level(number) when number >= 30, do: :warning
  defp level(number) when number >= 20, do: :info
  defp level(_number), do: :debug

  defp text(message, nil), do: message
  defp text(message, exception), do: message <> "\n" <> exception

  @doc "Lines that say how many records were left out."
  @spec unlogged(non_neg_integer()) :: [String.t()]
  def unlogged(0), do: []
  def unlogged(count), do: ["[#{count} log records left out: more than could be logged]"]

  @doc "Logs it, with `caller`, the metadata of the caller's Logger, beneath `metadata` and its own."
  @spec log(t(), caller :: map(), keyword()) :: :ok
  def log(record, caller, metadata) do
    own = [
      python_logger: record.logger,
      python_function: record.function,
      # As Logger's own macros give it.
      file: String.to_charlist(record.file),
      line: record.line
    ]

    metadata = Map.merge(caller, Map.new(metadata ++ own))
    Logger.bare_log(record.level, record.message, Map.to_list(metadata))
  end

  @doc """
  The metadata of a caller's Logger; where it has none, as the task of an `async` or the process of a callback,
  that of the nearest process for which it works.
  """
  @spec caller_metadata(pid() | nil) :: map()
  def caller_metadata(nil), do: %{}

  def caller_metadata(caller) do
    case dictionary(caller) do
      %{@metadata => %{} = metadata} when metadata != %{} -> metadata
      %{:"$callers" => [_ | _] = callers} -> Enum.find_value(callers, %{}, &metadata/1)
      _none -> %{}
    end
  end

  defp metadata(pid) do
    case dictionary(pid) do
      %{@metadata => %{} = metadata} when metadata != %{} -> metadata
      _none -> nil
    end
  end

  defp dictionary(pid) when is_pid(pid) and node(pid) == node() do
    case Process.info(pid, :dictionary) do
      {:dictionary, dictionary} -> Map.new(dictionary)
      nil -> %{}
    end
  end

  defp dictionary(_elsewhere), do: %{}
end
