defmodule ErlangPython.Request.Progress do
  @moduledoc false
  # Hands the progress of a request to a function. In a process of its own, because the caller waits in the
  # request meanwhile; the request returns when the function has seen all that came before its end.

  @type report :: %{done: number(), total: number() | nil, text: String.t()}

  @doc """
  Who is to get it. Asked when the option is given: this module is loaded then, with the atoms of the
  reports, which Python can't make.
  """
  @spec receiver(pid() | (report() -> term())) :: pid() | (report() -> term())
  def receiver(who), do: who

  @spec relayed((report() -> term()), (relay :: pid() -> result)) :: result when result: term()
  def relayed(fun, request) do
    caller = self()
    relay = spawn(fn -> relay(fun, Process.monitor(caller)) end)
    ref = Process.monitor(relay)

    try do
      request.(relay)
    after
      send(relay, :request_ended)

      receive do
        {:DOWN, ^ref, :process, ^relay, _reason} -> :ok
      end
    end
  end

  defp relay(fun, caller) do
    receive do
      {:python_progress, %{done: _, total: _, text: _} = report} ->
        _ = fun.(report)
        relay(fun, caller)

      :request_ended ->
        :ok

      {:DOWN, ^caller, :process, _pid, _reason} ->
        :ok
    end
  end
end
