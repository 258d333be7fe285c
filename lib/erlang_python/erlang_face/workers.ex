defmodule ErlangPython.ErlangFace.Workers do
  @moduledoc false
  # What `:py` does in every worker of its pool at once.

  alias ErlangPython.ErlangFace.{Calls, Reason}
  alias ErlangPython.Pool.{Broadcast, Configured, Handle}
  alias ErlangPython.Request.{Message, Options}

  @default_timeout 30_000

  @type failures :: [{worker :: pos_integer(), Reason.t()}]

  @doc "The result of each worker, in their order."
  @spec each(Message.t(), Broadcast.later()) ::
          {:ok, [{pos_integer(), Broadcast.result()}]} | {:error, Reason.t()}
  def each(message, later \\ :none) do
    with {:ok, options} <- Calls.options(@default_timeout), do: each(message, options, later)
  end

  @spec each(Message.t(), Options.t(), Broadcast.later()) ::
          {:ok, [{pos_integer(), Broadcast.result()}]} | {:error, Reason.t()}
  def each(message, options, later) do
    with {:ok, handle} <- pool(options.pool) do
      case Broadcast.run(handle, message, options, later) do
        {:ok, results} -> {:ok, Enum.sort_by(results, &elem(&1, 0))}
        {:error, error} -> {:error, Reason.of(error)}
      end
    end
  end

  @doc "The values of a function of ours in all workers, or the first error."
  @spec values(String.t(), String.t(), [term()], Broadcast.later()) ::
          {:ok, [term()]} | {:error, Reason.t()}
  def values(module, function, args \\ [], later \\ :none),
    do: values_of(ours(module, function, args), later)

  @spec values_of(Message.t(), Broadcast.later()) :: {:ok, [term()]} | {:error, Reason.t()}
  def values_of(message, later) do
    with {:ok, results} <- each(message, later) do
      case failures(results) do
        [] -> {:ok, for({_worker, {:ok, value}} <- results, do: value)}
        [{_worker, reason} | _others] -> {:error, reason}
      end
    end
  end

  @spec failures([{pos_integer(), Broadcast.result()}]) :: failures()
  def failures(results),
    do: for({worker, {:error, error}} <- results, do: {worker, Reason.of(error)})

  @doc "A call of a module that the worker brings."
  @spec ours(String.t(), String.t(), [term()]) :: Message.t()
  def ours(module, function, args),
    do: {:call, "erlang_python_worker." <> module, function, args}

  @spec pool(atom()) :: {:ok, Handle.t()} | {:error, Reason.t()}
  def pool(name \\ Configured.default()) do
    with {:error, error} <- Configured.fetch(name), do: {:error, Reason.of(error)}
  end
end
