defmodule ErlangPython.ErlangFace.Gather do
  @moduledoc false
  # `py:async_gather`: many calls at once, one process each.

  alias ErlangPython.ErlangFace.Calls

  @spec run(term()) :: {:ok, [term()]} | {:error, ErlangPython.ErlangFace.Reason.t()}
  def run(calls) when is_list(calls) do
    if Enum.all?(calls, &call?/1), do: gather(calls), else: {:error, :invalid_args}
  end

  def run(_other), do: {:error, :invalid_args}

  defp call?({_module, _function, args}) when is_list(args), do: true
  defp call?({_module, _function, args, _kwargs}) when is_list(args), do: true
  defp call?(_other), do: false

  # As soon as one fails the others are stopped: Python too, since each call ends with its process. The processes are
  # not linked to the caller, who may trap exits, but watch it.
  defp gather(calls) do
    tag = make_ref()
    caller = self()

    {gatherer, monitor} =
      spawn_monitor(fn ->
        Process.flag(:trap_exit, true)
        owner = Process.monitor(caller)
        gatherer = self()

        pids =
          for {call, index} <- Enum.with_index(calls),
              do: spawn_link(fn -> send(gatherer, {tag, index, perform(call)}) end)

        result = collect(tag, owner, length(calls), %{})
        Enum.each(pids, &Process.exit(&1, :kill))
        send(caller, {tag, result})
      end)

    receive do
      {^tag, result} ->
        Process.demonitor(monitor, [:flush])
        result

      {:DOWN, ^monitor, :process, ^gatherer, reason} ->
        exit(reason)
    end
  end

  defp perform({module, function, args}), do: perform({module, function, args, %{}})

  defp perform({module, function, args, kwargs}),
    do: Calls.call(module, function, args, kwargs, :infinity)

  defp collect(_tag, _owner, count, results) when map_size(results) == count,
    do: {:ok, for({_index, value} <- Enum.sort_by(results, &elem(&1, 0)), do: value)}

  defp collect(tag, owner, count, results) do
    receive do
      {^tag, index, {:ok, value}} -> collect(tag, owner, count, Map.put(results, index, value))
      {^tag, _index, {:error, reason}} -> {:error, reason}
      {:DOWN, ^owner, :process, _caller, _reason} -> {:error, :cancelled}
    end
  end
end
