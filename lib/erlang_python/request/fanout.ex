defmodule ErlangPython.Request.Fanout do
  @moduledoc false
  # Requests that other processes wait for: one as a task (`async`), one for nobody (`cast`), many for one caller (`map`).

  alias ErlangPython.{Error, Request, UnknownOption}
  alias ErlangPython.Pool.{Configured, Handle, Refs, Slots}
  alias ErlangPython.Request.{Message, Options}
  alias ErlangPython.Telemetry.OpenTelemetry

  require Logger

  defstruct args: nil, max_concurrency: nil, ordered: true, on_error: :collect

  @type t :: %__MODULE__{
          args: (term() -> list()) | nil,
          max_concurrency: pos_integer() | nil,
          ordered: boolean(),
          on_error: :collect | :raise
        }

  defp options, do: [:args, :max_concurrency, :ordered, :on_error]

  @doc "Splits the options of `map` into its own and those of each call."
  @spec split!(term(), [atom()]) :: {t(), keyword()}
  def split!(options, call_options) do
    unless Keyword.keyword?(options),
      do: raise(ArgumentError, "expected options to be a keyword list, got: #{inspect(options)}")

    case Keyword.keys(options) -- (call_options ++ options()) do
      [] -> :ok
      [unknown | _] -> UnknownOption.raise!("option", unknown, call_options ++ options())
    end

    {fanout, options} = Keyword.split(options, options())
    {new!(fanout), options}
  end

  @spec new!(keyword()) :: t()
  defp new!(options), do: Enum.reduce(options, %__MODULE__{}, &put/2)

  defp put({:args, fun}, acc) when is_function(fun, 1), do: %{acc | args: fun}

  defp put({:max_concurrency, n}, acc) when is_integer(n) and n > 0,
    do: %{acc | max_concurrency: n}

  defp put({:ordered, ordered}, acc) when is_boolean(ordered), do: %{acc | ordered: ordered}
  defp put({:on_error, what}, acc) when what in [:collect, :raise], do: %{acc | on_error: what}

  defp put({key, value}, _acc) do
    raise ArgumentError,
          "#{inspect(value)} is not a value for #{inspect(key)}: :args is a function of one argument, " <>
            ":max_concurrency a positive integer, :ordered a boolean, :on_error :collect or :raise"
  end

  @spec async(Message.t(), Options.t()) :: Task.t()
  def async(message, options) do
    options = OpenTelemetry.carry(options)
    owner = self()

    Task.async(fn ->
      end_with(owner)
      # Not the task's, which ends at once.
      message |> Request.run(options) |> Refs.give(owner)
    end)
  end

  # The link between them passes on each end but a normal one.
  defp end_with(owner) do
    task = self()

    spawn(fn ->
      owner_ref = Process.monitor(owner)
      task_ref = Process.monitor(task)

      receive do
        {:DOWN, ^owner_ref, :process, _owner, _reason} -> Process.exit(task, :kill)
        {:DOWN, ^task_ref, :process, _task, _reason} -> :ok
      end
    end)
  end

  @spec cast(Message.t(), Options.t()) :: :ok
  def cast(message, options) do
    Configured.check_application!()
    options = OpenTelemetry.carry(options)
    # Its caller may have another by then.
    metadata = Logger.metadata()

    {:ok, _pid} =
      Task.Supervisor.start_child(ErlangPython.Casts, fn ->
        Logger.metadata(metadata)
        with {:error, error} <- Request.run(message, options), do: log(message, error)
      end)

    :ok
  end

  defp log({:call, module, function, _args}, %Error{} = error) do
    Logger.error("cast to #{module}.#{function} failed: " <> Exception.message(error))
  end

  @spec map(Enumerable.t(), Message.t(), Options.t(), t()) :: Enumerable.t()
  def map(enumerable, {:call, module, function, []}, options, fanout) do
    options = OpenTelemetry.carry(options)

    call = fn args -> Request.run({:call, module, function, args}, options) end

    Stream.resource(
      fn -> concurrency(fanout, options) end,
      fn
        :done ->
          {:halt, :done}

        concurrency ->
          settings = [
            max_concurrency: concurrency,
            ordered: fanout.ordered,
            # Each request has its own.
            timeout: :infinity
          ]

          {enumerable
           # Here, as what raises in a task would take the reader with it.
           |> Stream.map(&args(fanout.args, &1))
           |> Task.async_stream(call, settings)
           |> Stream.map(&result(&1, fanout)), :done}
      end,
      fn _done -> :ok end
    )
  end

  defp args(nil, element), do: [element]

  defp args(fun, element) do
    case fun.(element) do
      args when is_list(args) ->
        args

      other ->
        raise ArgumentError, "expected :args to give a list of arguments, got: #{inspect(other)}"
    end
  end

  # Asked when the stream is run, for a pool may be scaled.
  defp concurrency(%{max_concurrency: nil}, options) do
    case Configured.fetch(options.pool) do
      {:ok, handle} -> concurrency(handle)
      {:error, error} -> raise error
    end
  end

  defp concurrency(%{max_concurrency: n}, _options), do: n

  @doc "How many requests keep all workers of a pool busy, two for each, as far as the pool's limits let so many in."
  @spec concurrency(Handle.t()) :: pos_integer()
  def concurrency(%{options: options} = handle) do
    workers = max(Slots.count(handle), options.workers)
    (2 * workers) |> min(workers + options.max_queue) |> min(options.max_concurrent)
  end

  defp result({:ok, {:error, error}}, %{on_error: :raise}), do: raise(error)
  defp result({:ok, result}, _fanout), do: result
end
