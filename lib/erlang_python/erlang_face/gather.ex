defmodule ErlangPython.ErlangFace.Gather do
  @moduledoc false
  # `py:async_gather`: many calls at once, one process each.

  alias ErlangPython.ErlangFace.{CallList, Streams}

  @spec run(term()) :: {:ok, [term()]} | {:error, ErlangPython.ErlangFace.Reason.t()}
  def run(calls) do
    with {:ok, functions} <- CallList.functions(calls), do: gather(functions)
  end

  # As soon as one fails the others are stopped: Python too, since each call ends with its process. The processes are
  # not linked to the caller, who may trap exits, but watch it.
  defp gather(functions) do
    tag = make_ref()
    caller = self()

    {gatherer, monitor} =
      spawn_monitor(fn ->
        Process.flag(:trap_exit, true)
        owner = Process.monitor(caller)
        gatherer = self()

        # A stream is not to end with the process that made the call, but with all others if one fails.
        pids =
          for {function, index} <- Enum.with_index(functions) do
            spawn_link(fn ->
              send(gatherer, {tag, index, Streams.give(function.(), gatherer)})
            end)
          end

        result = tag |> collect(owner, length(functions), %{}) |> give(caller)
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

  defp give({:ok, values}, owner) do
    given =
      for value <- values do
        {:ok, given} = Streams.give({:ok, value}, owner)
        given
      end

    {:ok, given}
  end

  defp give(failed, _owner), do: failed

  defp collect(_tag, _owner, count, results) when map_size(results) == count,
    do: {:ok, for({_index, value} <- Enum.sort_by(results, &elem(&1, 0)), do: value)}

  defp collect(tag, owner, count, results) do
    receive do
      {^tag, index, {:ok, value}} -> collect(tag, owner, count, Map.put(results, index, value))
      {^tag, _index, {:error, reason}} -> {:error, reason}
      {:DOWN, ^owner, :process, _caller, _reason} -> {:error, :cancelled}
      {:EXIT, _pid, reason} when reason != :normal -> exit(reason)
    end
  end
end
