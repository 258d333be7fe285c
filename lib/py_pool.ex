defmodule :py_pool do
  @moduledoc """
  Requests whose answers come as messages, for Erlang code written for the `erlang_python` 1.x API.

      Ref = make_ref(),
      ok = py_pool:request({stream_eval, Ref, self(), <<"(x for x in range(3))">>, #{}}),
      receive {py_chunk, Ref, Value} -> Value end.
  """

  alias ErlangPython.ErlangFace.{Calls, Executors, Streams}

  @type request ::
          {:stream, reference(), pid(), :py.name(), :py.name(), :py.args()}
          | {:stream, reference(), pid(), :py.name(), :py.name(), :py.args(), :py.names()}
          | {:stream_eval, reference(), pid(), :py.code()}
          | {:stream_eval, reference(), pid(), :py.code(), :py.names()}

  @doc """
  Reads a stream for a process, which gets `{py_chunk, Ref, Value}` for each item and then `{py_end,
  Ref}` or `{py_error, Ref, Reason}` (`t:py:reason/0`).

  A request is one of

    * `{stream_eval, Ref, Pid, Code, Locals}`, or without `Locals`: the items of an expression's value;
    * `{stream, Ref, Pid, Module, Function, Args, Kwargs}`, or without `Kwargs`: those of a call's value.

  As in `py:stream/3` only iterators stream; another value is the only item. The messages come as fast as
  Python makes them, whether they are read or not: a stream that may be long is better read by
  `ErlangPython.stream/4` or `py:stream_next/1`. The stream closes when `Pid` ends, and by `py:stream_cancel(Ref)`.
  Each further item is waited for at most 30 seconds.
  """
  @spec request(request()) :: :ok | {:error, :invalid_args}
  def request({:stream_eval, ref, pid, code}), do: request({:stream_eval, ref, pid, code, %{}})

  def request({:stream_eval, ref, pid, code, locals}),
    do: push(ref, pid, Calls.stream_eval_message(code, locals))

  def request({:stream, ref, pid, module, function, args}),
    do: request({:stream, ref, pid, module, function, args, %{}})

  def request({:stream, ref, pid, module, function, args, kwargs}),
    do: push(ref, pid, Calls.stream_message(module, function, args, kwargs))

  def request(_other), do: {:error, :invalid_args}

  @doc """
  Numbers of the pool: `num_workers`, `available_workers` (those that are idle), `checked_out` (those that run a request, also while
  it waits for Erlang, and those that are set aside for a context) and `pending_requests` (that wait for their turn).
  """
  @spec get_stats() :: %{atom() => non_neg_integer()}
  def get_stats, do: Executors.stats()

  @doc """
  Runs a request in every worker, between two others, and gives their results in the order of the workers: a list of `{ok,
  Value}` and `{error, Reason}`. `{error, Reason}` instead of the list says that no worker was asked.

  A request is `{call, Module, Function, Args}`, `{eval, Code}` or `{exec, Code}`, each also with `Kwargs` or `Locals`. Workers that
  start later don't run it: for that see `ErlangPython.Pool.broadcast/3`.
  """
  @spec broadcast(
          {:call, :py.name(), :py.name(), :py.args()}
          | {:call, :py.name(), :py.name(), :py.args(), :py.names()}
          | {:eval | :exec, :py.code()}
          | {:eval | :exec, :py.code(), :py.names()}
        ) :: [:py.result()] | {:error, :py.reason()}
  def broadcast(request), do: Executors.broadcast(request)

  defp push(ref, pid, {:ok, message, options}) when is_reference(ref) and is_pid(pid),
    do: Streams.push(ref, pid, message, options, &message(ref, &1))

  defp push(_ref, _pid, _invalid), do: {:error, :invalid_args}

  defp message(ref, {:data, value}), do: {:py_chunk, ref, value}
  defp message(ref, :done), do: {:py_end, ref}
  defp message(ref, {:error, reason}), do: {:py_error, ref, reason}
end
